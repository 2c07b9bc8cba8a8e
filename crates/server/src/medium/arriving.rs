//! What was waited for comes (`waitfile`): at SIGUSR1 every store that waits takes what its session wrote into the file,
//! and goes on there.

use super::entering::other_disk;
use super::{Known, Medium, Open};
use crate::assemble::{Assembled, Assembly};
use crate::rivals::Rivals;
use std::fmt;
use std::sync::Arc;
use store::{Identity, Kind, Probe, WaitingStore};

impl Medium {
    /// Looks whether what sessions wait for is there, and brings them to it.
    pub fn look_for_arrivals(&self, rivals: &Rivals<'_>) {
        // The fence waits for this as it does for an opening: it holds stores.
        let Some(_held) = self.hold() else { return };
        let waiting = self.waiting();
        let common = Assembly::common(&self.storage).filter(Assembly::may_wait);
        for assembly in waiting.iter().map(|(assembly, ..)| assembly).chain(&common) {
            // Clients that come from here on find it at once.
            if assembly.probe_again().is_ok() {
                self.lock().arrived.insert(assembly.path.clone());
            }
        }
        for (assembly, store, known) in &waiting {
            self.bring_to_its_file(assembly, store, known, rivals);
        }
    }

    fn waiting(&self) -> Vec<(Assembly, Arc<WaitingStore>, Known)> {
        let state = self.lock();
        let waits = |open: &Open| {
            let store = open.waiting.as_ref()?.upgrade().filter(|store| store.is_waiting())?;
            Some((open.assembly.clone().waiting(false), store, open.identity.clone()))
        };
        state.open.iter().filter_map(waits).collect()
    }

    fn bring_to_its_file(
        &self,
        assembly: &Assembly,
        waiting: &WaitingStore,
        known: &Known,
        rivals: &Rivals<'_>,
    ) {
        let path = assembly.path.display();
        self.log.info(format!("checking for file {path}"));
        let still = |why: &dyn fmt::Display| self.log.info(format!("still waiting for {path}: {why}"));
        let file = match assembly.open_arrived(&self.shared.poison(&assembly.path)) {
            Ok(file) => file,
            Err(error) => return still(&error.cause),
        };
        if let Err(why) = self.recognize(assembly, known, &file, rivals) {
            return still(&why);
        }
        self.log.info(format!("File {path} appeared"));
        match waiting.switch(file.store) {
            Ok(_) => self.log.info(format!("Waiting for file ended, switching to exported file {path}")),
            Err(error) => {
                known.becomes(Identity::File { dev: 0, ino: 0 });
                still(&error);
            }
        }
    }

    /// The file is the disk that was meant (P4), and from here on the fence, the watch and the guard know that the session
    /// is on it: before its first byte is written there.
    fn recognize(
        &self,
        assembly: &Assembly,
        known: &Known,
        file: &Assembled,
        rivals: &Rivals<'_>,
    ) -> Result<(), String> {
        assembly.is_wanted(&file.identity)?;
        let entrance = self.pass(rivals, assembly, &file.identity)?;
        let mut state = self.lock();
        let here = state.open.iter().any(|open| Arc::ptr_eq(&open.identity.0, &known.0));
        if !here || state.closed && !state.retired {
            return Err("its export was removed or replaced meanwhile".into());
        }
        if let Some(seen) = state.seen.get(&assembly.path)
            && self.is_other_disk(&seen.identity, &file.identity)
        {
            return Err(other_disk(&assembly.path, &seen.identity, &file.identity));
        }
        let size = file.store.geometry().size;
        let probe = Probe { identity: file.identity.clone(), size, kind: Kind::File, device: None };
        self.remember_first(&mut state, &assembly.path, probe, entrance.is_some());
        known.becomes(file.identity.clone());
        Ok(())
    }
}
