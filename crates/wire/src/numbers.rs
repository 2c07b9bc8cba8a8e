//! Newtypes over the protocol's numbers: the named ones are constants, the others survive.

/// A number out of a list of the specification. `Debug` and `Display` say the spec's name, or the bare number.
macro_rules! numbers {
    (
        $(#[$doc:meta])*
        $name:ident($int:ty) {
            $( $(#[$const_doc:meta])* $const:ident = $value:expr, $spec:literal; )*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $int);

        impl $name {
            $( $(#[$const_doc])* pub const $const: Self = Self($value); )*

            /// Every number that has a name, with the name the specification gives it.
            pub const NAMED: &'static [(Self, &'static str)] = &[$( (Self::$const, $spec) ),*];

            /// The specification's name for this number, if it has one.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                Self::NAMED.iter().find(|(named, _)| *named == self).map(|(_, name)| *name)
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self.name() {
                    Some(name) => out.pad(name),
                    None => write!(out, "{:#x}", self.0),
                }
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                core::fmt::Display::fmt(self, out)
            }
        }
    };
}

/// A field of single bits. `Debug` and `Display` say the spec's names joined by `|`, then the unnamed bits.
macro_rules! flags {
    (
        $(#[$doc:meta])*
        $name:ident($int:ty) {
            $( $(#[$const_doc:meta])* $const:ident = $value:expr, $spec:literal; )*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $int);

        impl $name {
            $( $(#[$const_doc])* pub const $const: Self = Self($value); )*

            /// No bit set.
            pub const NONE: Self = Self(0);
            /// Every bit that has a name. What a field has besides these nobody has defined yet.
            pub const ALL: Self = Self(0 $( | $value )*);
            /// Every bit that has a name, with the name the specification gives it.
            pub const NAMED: &'static [(Self, &'static str)] = &[$( (Self::$const, $spec) ),*];

            /// Whether every bit of `other` is set here.
            #[must_use]
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// The bits of both.
            #[must_use]
            pub const fn union(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }

            /// The bits that are set here and not in `other`.
            #[must_use]
            pub const fn without(self, other: Self) -> Self {
                Self(self.0 & !other.0)
            }

            /// Whether no bit is set.
            #[must_use]
            pub const fn is_empty(self) -> bool {
                self.0 == 0
            }
        }

        impl core::ops::BitOr for $name {
            type Output = Self;

            fn bitor(self, other: Self) -> Self {
                self.union(other)
            }
        }

        impl core::ops::BitOrAssign for $name {
            fn bitor_assign(&mut self, other: Self) {
                *self = self.union(other);
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                let mut separator = "";
                for (_, name) in Self::NAMED.iter().filter(|(bit, _)| self.contains(*bit)) {
                    write!(out, "{separator}{name}")?;
                    separator = "|";
                }
                let unnamed = self.without(Self::ALL);
                if !unnamed.is_empty() || self.is_empty() {
                    write!(out, "{separator}{:#x}", unnamed.0)?;
                }
                Ok(())
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                core::fmt::Display::fmt(self, out)
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use crate::{Command, CommandFlags};
    use alloc::format;

    #[test]
    fn a_known_number_shows_its_name_and_an_unknown_one_itself() {
        assert_eq!(format!("{} {:?}", Command::WRITE_ZEROES, Command(99)), "NBD_CMD_WRITE_ZEROES 0x63");
    }

    #[test]
    fn flags_show_their_names_and_then_the_bits_without_one() {
        let flags = CommandFlags::FUA | CommandFlags::DF | CommandFlags(0x4000);
        assert_eq!(format!("{flags}"), "NBD_CMD_FLAG_FUA|NBD_CMD_FLAG_DF|0x4000");
        assert_eq!(format!("{:?}", CommandFlags::NONE), "0x0");
    }

    #[test]
    fn flags_are_sets_of_bits() {
        let both = CommandFlags::FUA | CommandFlags::NO_HOLE;
        assert!(both.contains(CommandFlags::FUA) && !CommandFlags::FUA.contains(both));
        assert_eq!(both.without(CommandFlags::FUA), CommandFlags::NO_HOLE);
        assert!(both.without(CommandFlags::ALL).is_empty());
        assert_eq!(CommandFlags(0x8001).without(CommandFlags::ALL), CommandFlags(0x8000));
    }
}
