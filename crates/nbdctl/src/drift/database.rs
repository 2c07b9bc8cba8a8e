//! A database that knows which export leads where. It is asked one question, and never told anything.

mod address;
mod fetch;
mod secret;

use super::claims::Row;
use crate::client::Failure;
use crate::text::shown;
use address::{Address, Kind};
use fetch::Trouble;
use secret::Secret;
use std::path::Path;
use std::time::Duration;

pub use address::passwords_in;

/// Where the password is looked for, if no file is named.
const PASSWORD_VARIABLE: &str = "NBDCTL_DATABASE_PASSWORD";

/// Names that the appliance has had for the column of an export's volume.
const VOLUME_COLUMNS: [&str; 2] = ["volume_id", "volume_uuid"];

/// The appliance's tables: exports whose volume is attached to the appliance itself, and those that have failed. The third
/// column is the mapping's word; a mapping that knows the export's path by its lasting name says the same. The fourth is
/// why a row is not to be relied on. Behind them stand disks of volumes without an export.
const APPLIANCE: &str = "\
SELECT e.export_name, e.device_path, \
CASE WHEN m.symlink_path = e.device_path THEN m.symlink_path ELSE m.device_path END, \
CASE WHEN e.status = 'failed' THEN 'failed' \
WHEN m.volume_uuid IS NULL AND EXISTS (SELECT 1 FROM device_mappings o \
WHERE o.device_path = e.device_path OR o.symlink_path = e.device_path) \
THEN 'its path is mapped to another volume' \
WHEN m.volume_uuid IS NULL AND EXISTS (SELECT 1 FROM device_mappings) \
THEN 'its volume has no mapping, and others have' END \
FROM nbd_exports e LEFT JOIN device_mappings m ON m.volume_uuid = e.VOLUME \
WHERE m.volume_uuid IS NULL OR m.operation_mode = 'oma' OR e.status = 'failed' \
UNION ALL SELECT '', m.device_path, NULL, NULL FROM device_mappings m \
WHERE NOT EXISTS (SELECT 1 FROM nbd_exports e WHERE e.VOLUME = m.volume_uuid)";

/// A database, and the question.
pub struct Database {
    address: Address,
    password: Secret,
    /// The operator's own; none for the appliance's tables.
    query: Option<String>,
}

impl Database {
    /// At a URL. The password is that of the file, of the environment, or of the URL, in this order.
    pub fn at(url: &str, password_file: Option<&Path>, query: Option<&str>) -> Result<Self, Failure> {
        let address = Address::parse(url).map_err(Failure::Usage)?;
        let password = match password_file {
            Some(file) => secret::from_file(file).map_err(Failure::Here)?,
            None => match std::env::var(PASSWORD_VARIABLE) {
                Ok(password) => Secret::new(password),
                Err(_) => Secret::default(),
            },
        };
        Ok(Self { address, password, query: query.map(Into::into) })
    }

    /// Where the password can be seen by everybody: in the URL on the command line.
    pub fn has_password_in_url(&self) -> bool {
        self.address.has_password()
    }

    /// The rows of the question, within this time.
    pub fn rows(&self, patience: Duration) -> Result<Vec<Row>, Failure> {
        let rows = match &self.query {
            Some(query) => self.ask(query, patience),
            None => self.ask_appliance(patience),
        };
        rows.map_err(|trouble| {
            let why = self.password.hidden_in(&self.address.hidden_in(&trouble.why));
            Failure::Here(format!("{}: {}", shown(self.address.shown()), shown(&why)))
        })
    }

    /// By each name that the column has had. What the first was told is what is said.
    fn ask_appliance(&self, patience: Duration) -> Result<Vec<Row>, Trouble> {
        let [first, second] = VOLUME_COLUMNS.map(|column| APPLIANCE.replace("VOLUME", column));
        match self.ask(&first, patience) {
            Err(trouble) if trouble.unknown_column => self
                .ask(&second, patience)
                .map_err(|again| if again.unknown_column { trouble } else { again }),
            rows => rows,
        }
    }

    fn ask(&self, query: &str, patience: Duration) -> Result<Vec<Row>, Trouble> {
        fetch::rows(&self.address, &self.password, query, self.query.is_none(), patience)
    }
}
