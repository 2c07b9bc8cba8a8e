//! What a path leads to on this host.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// The end of a path, behind all its links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A block device, by its number: two device files may lead to one disk.
    Device(u64),
    /// A regular file, by file system and inode.
    File(u64, u64),
    /// Nothing that could be served, and why.
    Nothing(String),
}

impl Node {
    /// Looks.
    pub fn at(path: &str) -> Self {
        if !Path::new(path).is_absolute() {
            return Self::Nothing("is no absolute path".into());
        }
        match fs::metadata(path) {
            Ok(found) if found.file_type().is_block_device() => Self::Device(found.rdev()),
            Ok(found) if found.is_file() => Self::File(found.dev(), found.ino()),
            Ok(_) => Self::Nothing("is neither a block device nor a file".into()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Self::Nothing("is not there".into())
            }
            Err(error) => Self::Nothing(format!("cannot be looked at: {error}")),
        }
    }

    /// Both are there, and are one disk.
    pub fn is(&self, other: &Self) -> bool {
        self == other && !matches!(self, Self::Nothing(_))
    }
}

/// What every path leads to: the file system, or a table in a test.
pub type Nodes<'a> = &'a dyn Fn(&str) -> Node;

/// Two paths agree when they are the same text, or lead to one disk.
pub fn same(one: &str, other: &str, nodes: Nodes<'_>) -> bool {
    one == other || nodes(one).is(&nodes(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use testkit::TempDir;

    #[test]
    fn a_link_and_what_it_leads_to_are_one_and_nothing_is_never_the_same_as_nothing() {
        let dir = TempDir::new("node");
        let path = |name: &str| dir.join(name).display().to_string();
        dir.sparse("a", 512);
        dir.sparse("b", 512);
        symlink(dir.join("a"), dir.join("link")).unwrap();
        symlink(dir.join("gone"), dir.join("dangling")).unwrap();
        let same = |one: &str, other: &str| same(&path(one), &path(other), &Node::at);
        assert!(same("a", "link") && !same("a", "b") && !same("link", "b"));
        assert!(!same("dangling", "gone"), "nobody knows what either will be");
        assert!(same("gone", "gone"), "the same text");
        assert!(matches!(Node::at("/dev/null"), Node::Nothing(_)), "a character device");
        assert!(matches!(Node::at("remote-vm-1"), Node::Nothing(_)));
        assert!(matches!(Node::at("/"), Node::Nothing(_)));
    }
}
