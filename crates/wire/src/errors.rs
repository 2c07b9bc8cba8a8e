//! Error numbers of replies. They are the protocol's own, equal on all systems. Spec: "Error values".

numbers! {
    /// What went wrong, in a simple reply or an error chunk. Shape: 4 bytes, big-endian.
    ///
    /// A client takes a number it does not know for [`ErrorNumber::EINVAL`]. Spec: "Error values".
    ErrorNumber(u32) {
        /// No error; only in a simple reply.
        OK = 0, "OK";
        /// Not permitted: a write to an export that is read-only.
        EPERM = 1, "NBD_EPERM";
        /// The medium failed.
        EIO = 5, "NBD_EIO";
        /// No memory; a server avoids this where it can.
        ENOMEM = 12, "NBD_ENOMEM";
        /// The request itself is wrong: unknown command or flag, out of range, not aligned.
        EINVAL = 22, "NBD_EINVAL";
        /// No space: also a write beyond the end of the export.
        ENOSPC = 28, "NBD_ENOSPC";
        /// Too large: a read that may not be fragmented, or an effect length above what the server can do.
        EOVERFLOW = 75, "NBD_EOVERFLOW";
        /// Zeroing would not be faster than writing; answers only the flag for fast zeroes.
        ENOTSUP = 95, "NBD_ENOTSUP";
        /// The server is stopping.
        ESHUTDOWN = 108, "NBD_ESHUTDOWN";
    }
}
