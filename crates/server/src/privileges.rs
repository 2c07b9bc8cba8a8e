//! Who the server is: descriptors while it is root, and then the configured user and group.

use nix::unistd::{Gid, Group, Uid, User, geteuid, setgid, setgroups, setuid};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::set_no_new_privs;

/// Whom to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    /// Nobody else where there is none.
    pub user: Option<Uid>,
    group: Option<Gid>,
}

/// Looks the names up.
///
/// # Errors
/// In the words of the original, which does not take numbers either.
pub fn resolve(user: Option<&str>, group: Option<&str>) -> Result<Ids, String> {
    let user = user
        .map(|name| match User::from_name(name) {
            Ok(Some(user)) => Ok(user.uid),
            _ => Err(format!("Invalid user name: {name}")),
        })
        .transpose()?;
    let group = group
        .map(|name| match Group::from_name(name) {
            Ok(Some(group)) => Ok(group.gid),
            _ => Err(format!("Invalid group name: {name}")),
        })
        .transpose()?;
    Ok(Ids { user, group })
}

/// Where another user is to become the server, nothing that it starts gains rights from a program's file any more (setuid,
/// capabilities): neither it, should it be broken into, nor its hooks.
///
/// Each thread has a flag of its own for this, which its programs and its later threads inherit. So before the first one.
///
/// # Errors
/// As the system says.
pub fn forbid_gains(user: Option<&str>) -> Result<(), String> {
    // Who cannot be looked up is told by `resolve`.
    let becomes_root = |name| matches!(User::from_name(name), Ok(Some(user)) if user.uid.is_root());
    match user {
        Some(name) if !becomes_root(name) => {
            set_no_new_privs(true).map_err(|error| format!("Could not set no_new_privs: {error}"))
        }
        _ => Ok(()),
    }
}

/// Becomes them, for good. Before the first thread starts.
///
/// # Errors
/// `Could not set GID: …` or `Could not set UID: …`, as the original.
pub fn drop_to(ids: &Ids) -> Result<(), String> {
    if let Some(group) = ids.group {
        setgid(group).map_err(|error| format!("Could not set GID: {}", error.desc()))?;
    }
    let Some(user) = ids.user else { return Ok(()) };
    // Root stays root, and then keeps the groups that let it open disks. Who is not root cannot let go of groups; that is
    // no reason not to serve as who one is.
    if !user.is_root()
        && let Err(error) = setgroups(&[])
        && geteuid().is_root()
    {
        return Err(format!("Could not set groups: {}", error.desc()));
    }
    setuid(user).map_err(|error| format!("Could not set UID: {}", error.desc()))?;
    if !user.is_root() && setuid(Uid::from_raw(0)).is_ok() {
        return Err("Could not set UID: root could be had back".into());
    }
    Ok(())
}

/// As many descriptors as the system lets us have. Returns how many that is.
pub fn raise_fd_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => limit.maximum.unwrap_or(1 << 20),
        Err(_) => limit.current.unwrap_or(1 << 20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C-076
    #[test]
    fn unknown_names_are_told_in_the_words_of_the_original() {
        assert_eq!(resolve(Some("no-such-user"), None), Err("Invalid user name: no-such-user".into()));
        assert_eq!(resolve(None, Some("no-such-group")), Err("Invalid group name: no-such-group".into()));
        assert_eq!(resolve(Some("102"), None), Err("Invalid user name: 102".into()));
        assert!(resolve(Some("root"), Some("root")).is_ok());
        assert_eq!(resolve(None, None), Ok(Ids { user: None, group: None }));
    }
}
