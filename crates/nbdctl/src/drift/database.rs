//! A database that knows which export leads where. It is asked one question, and never told anything.

mod address;
mod fetch;
mod secret;

use super::claims::Row;
use crate::client::Failure;
use crate::text::shown;
use address::{Address, Kind};
use secret::Secret;
use std::path::Path;
use std::time::Duration;

pub use secret::without_passwords;

/// Where the password is looked for, if no file is named.
const PASSWORD_VARIABLE: &str = "NBDCTL_DATABASE_PASSWORD";

/// The appliance's tables: exports that have not failed and whose volume is attached to the appliance itself. The third
/// column is the mapping's word; a mapping that knows the export's path by its lasting name says the same.
const APPLIANCE: &str = "\
SELECT e.export_name, e.device_path, \
CASE WHEN m.symlink_path = e.device_path THEN m.symlink_path ELSE m.device_path END \
FROM nbd_exports e LEFT JOIN device_mappings m ON m.volume_uuid = e.volume_id \
WHERE (e.status IS NULL OR e.status <> 'failed') AND (m.volume_uuid IS NULL OR m.operation_mode = 'oma')";

/// A database, and the question.
pub struct Database {
    address: Address,
    password: Secret,
    query: String,
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
        Ok(Self { address, password, query: query.unwrap_or(APPLIANCE).into() })
    }

    /// Where the password can be seen by everybody: in the URL on the command line.
    pub fn has_password_in_url(&self) -> bool {
        self.address.has_password()
    }

    /// The rows of the question, within this time.
    pub fn rows(&self, patience: Duration) -> Result<Vec<Row>, Failure> {
        fetch::rows(&self.address, &self.password, &self.query, patience).map_err(|why| {
            let why = self.password.hidden_in(&self.address.hidden_in(&why));
            Failure::Here(format!("{}: {}", shown(self.address.shown()), shown(&why)))
        })
    }
}
