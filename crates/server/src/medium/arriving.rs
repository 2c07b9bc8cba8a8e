//! What was waited for comes (`waitfile`): at SIGUSR1 every store that waits takes what its session wrote into the file,
//! and goes on there.

use super::{Medium, Open};
use crate::assemble::Assembly;
use std::sync::Arc;
use store::WaitingStore;

impl Medium {
    /// Looks whether what sessions wait for is there, and brings them to it.
    pub fn look_for_arrivals(&self) {
        // The fence waits for this as it does for an opening: it holds stores.
        let Some(_held) = self.hold() else { return };
        let waiting = self.waiting();
        let common = Assembly::common(&self.storage).filter(Assembly::may_wait);
        for assembly in waiting.iter().map(|(assembly, _)| assembly).chain(&common) {
            // Clients that come from here on find it at once.
            if assembly.probe_again().is_ok() {
                self.lock().arrived.insert(assembly.path.clone());
            }
        }
        for (assembly, store) in &waiting {
            self.bring_to_its_file(assembly, store);
        }
    }

    fn waiting(&self) -> Vec<(Assembly, Arc<WaitingStore>)> {
        let state = self.lock();
        let waits = |open: &Open| {
            let store = open.waiting.as_ref()?.upgrade().filter(|store| store.is_waiting())?;
            Some((open.assembly.clone().waiting(false), store))
        };
        state.open.iter().filter_map(waits).collect()
    }

    fn bring_to_its_file(&self, assembly: &Assembly, waiting: &WaitingStore) {
        let path = assembly.path.display();
        self.log.info(format!("checking for file {path}"));
        let file = match assembly.open_arrived(&self.shared.poison) {
            Ok(file) => file,
            Err(error) => return self.log.info(format!("still waiting for {path}: {}", error.cause)),
        };
        if let Err(why) = assembly.is_wanted(&file.identity) {
            return self.log.error(format!("still waiting for {path}: {why}"));
        }
        self.log.info(format!("File {path} appeared"));
        match waiting.switch(file.store) {
            Ok(_) => self.log.info(format!("Waiting for file ended, switching to exported file {path}")),
            Err(error) => self.log.error(format!("still waiting for {path}: {error}")),
        }
    }
}
