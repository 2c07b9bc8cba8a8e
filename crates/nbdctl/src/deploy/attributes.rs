//! Extended attributes of a program: rights of its own (`security.capability`), access lists, whatever else was noted at it.

use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

/// Neither names nor a value are longer (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const LONGEST: usize = 64 << 10;
/// An access list. What the mode says of the group is its mask as long as there is one.
const ACCESS: &str = "system.posix_acl_access";
/// Without these it would not do what it did: it has no right to its port, or others have a right to it.
const MUST: [&str; 2] = ["security.capability", ACCESS];
/// Made of the bytes that the file has: of other bytes they are wrong, and the kernel would not execute them.
const OF_THE_BYTES: [&str; 2] = ["security.ima", "security.evm"];

/// Names and values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attributes(BTreeMap<String, Vec<u8>>);

impl Attributes {
    /// Of a file; none where its file system has none.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn of(path: &Path) -> Result<Self, String> {
        let read = || -> std::io::Result<Self> {
            let file = File::open(path)?;
            let mut value = vec![0; LONGEST];
            let mut all = BTreeMap::new();
            for name in names(&file)? {
                let length = fgetxattr(&file, name.as_str(), &mut value[..])?;
                all.insert(name, value[..length].to_vec());
            }
            Ok(Self(all))
        };
        read().map_err(|error| format!("the attributes of {}: {error}", path.display()))
    }

    /// What is worth a word before they go from one program to another.
    pub fn notes(&self) -> Vec<String> {
        let (lost, kept): (Vec<&str>, Vec<&str>) =
            self.0.keys().map(String::as_str).partition(|name| OF_THE_BYTES.contains(name));
        let say = |names: Vec<&str>, what: &str| {
            (!names.is_empty()).then(|| format!("attributes: {} {what}", names.join(", ")))
        };
        let lost = say(lost, "of the target not kept: made of its bytes, and others would have to be signed");
        say(kept, "of the target kept").into_iter().chain(lost).collect()
    }

    /// Gives them to a file that has its bytes and its owner already; a change of either takes rights away. What could not
    /// be kept and may be missing.
    ///
    /// # Errors
    /// Without one of them the program would not do what it did.
    pub fn give(&self, file: &File) -> std::io::Result<Vec<String>> {
        // A new file may have a list by its directory.
        if !self.0.contains_key(ACCESS) && names(file)?.iter().any(|name| name == ACCESS) {
            fremovexattr(file, ACCESS)?;
        }
        let mut missing = Vec::new();
        for (name, value) in self.0.iter().filter(|(name, _)| !OF_THE_BYTES.contains(&name.as_str())) {
            match fsetxattr(file, name.as_str(), value, XattrFlags::empty()) {
                Ok(()) => {}
                Err(error) if MUST.contains(&name.as_str()) => {
                    let error = std::io::Error::from(error);
                    return Err(std::io::Error::new(error.kind(), format!("the attribute {name}: {error}")));
                }
                Err(error) => missing.push(format!("the attribute {name} is not kept: {error}")),
            }
        }
        Ok(missing)
    }
}

fn names(file: &File) -> std::io::Result<Vec<String>> {
    let mut list = vec![0; LONGEST];
    match flistxattr(file, &mut list[..]) {
        Ok(length) => {
            let text = String::from_utf8_lossy(&list[..length]);
            Ok(text.split_terminator('\0').map(Into::into).collect())
        }
        Err(Errno::NOTSUP) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_of_the_bytes_does_not_go_with_other_bytes() {
        let all = ["security.ima", "user.owner"].map(|name| (name.to_owned(), vec![1]));
        let notes = Attributes(all.into()).notes();
        assert!(notes[0].contains("user.owner of the target kept") && notes.len() == 2, "{notes:?}");
        assert!(notes[1].contains("security.ima of the target not kept"), "{notes:?}");
        assert_eq!(Attributes::default().notes(), Vec::<String>::new());
    }

    /// Files of the kernel's own take none.
    #[test]
    fn without_a_capability_or_an_access_list_it_is_an_error_and_without_others_a_line() {
        let file = File::open("/proc/version").expect("it is there");
        let give = |name: &str| Attributes(BTreeMap::from([(name.to_owned(), vec![1])])).give(&file);
        for name in MUST {
            assert!(give(name).is_err_and(|why| why.to_string().contains(name)), "{name}");
        }
        let missing = give("user.owner").expect("it may be missing");
        assert!(missing[0].contains("the attribute user.owner is not kept: "), "{missing:?}");
        assert_eq!(give("security.ima").expect("it is left behind"), Vec::<String>::new());
        assert_eq!(Attributes::of(Path::new("/proc/version")), Ok(Attributes::default()));
    }
}
