//! The file that `transactionlog` names: the records of all sessions of an export, for `nbd-trdump` and `nbd-trplay`.
//!
//! Each session opens it for itself and appends. A record is one `write`, and the system does not mix appends to one
//! file, so that even another server may log into the same one. In this process the sessions take turns as well: a
//! record that the file has no room for is taken back, and what the reader expects of WRITEs is known.

use rustix::fs::OFlags;
use session::{Journal, payloads_follow};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Seek, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wire::{Request, SimpleReply};

/// One session's way into its transaction log.
pub struct TransactionLog {
    file: File,
    /// With what was written.
    datalog: bool,
    end: Arc<Mutex<End>>,
    /// A record could not be written. A log with a gap would say what did not happen, so it ends there. Changed with
    /// the end in hand.
    given_up: AtomicBool,
    complain: Box<dyn Fn(&io::Error) + Send + Sync>,
}

/// The end of one file, whoever of this process appends to it.
#[derive(Default)]
struct End {
    /// Whether a reader who has come here takes WRITEs to have payloads behind them. `None`: somebody else wrote what
    /// is in the file.
    payloads: Option<bool>,
    /// Sessions that have the file open.
    sessions: usize,
    /// How long it was when the last of them closed it.
    len: u64,
}

/// Device and inode.
type FileId = (u64, u64);

/// The ends of all files that were logged into: as many as transaction logs were configured, and rotated.
static ENDS: Mutex<BTreeMap<FileId, Arc<Mutex<End>>>> = Mutex::new(BTreeMap::new());

impl TransactionLog {
    /// Opens or creates it (0600) for one session. With `datalog` it begins with a record that says so, and each WRITE
    /// has its payload behind it. `complain` is called once at most, when a record cannot be written: the session then
    /// goes on without it.
    ///
    /// # Errors
    /// The system's, and [`io::ErrorKind::InvalidInput`] for what is neither a regular file nor a character device: a
    /// pipe without a reader would stop the session.
    pub fn open(
        path: &Path,
        datalog: bool,
        complain: impl Fn(&io::Error) + Send + Sync + 'static,
    ) -> io::Result<Arc<Self>> {
        // Without waiting: a pipe has nobody at its other end, a terminal may be stopped.
        let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
        let file = OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() && !metadata.file_type().is_char_device() {
            let what = "neither a regular file nor a character device";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let mut ends = ENDS.lock().unwrap_or_else(PoisonError::into_inner);
        let end = ends.entry((metadata.dev(), metadata.ino())).or_default().clone();
        drop(ends);
        let (complain, given_up) = (Box::new(complain), AtomicBool::new(false));
        let log = Self { file, datalog, end, given_up, complain };
        log.begin()?;
        Ok(Arc::new(log))
    }

    /// Opens it as [`TransactionLog::open`] does, or says that the session has to do without, as the original does.
    pub fn open_or_say(
        path: &Path,
        datalog: bool,
        say: impl Fn(&str) + Send + Sync + 'static,
    ) -> Option<Arc<dyn Journal>> {
        let shown = path.display().to_string();
        let say = Arc::new(say);
        let later = (shown.clone(), say.clone());
        let complain = move |error: &io::Error| {
            let (shown, say) = &later;
            say(&format!("Could not write to transactionlog {shown}, moving on without it: {error}"));
        };
        match Self::open(path, datalog, complain) {
            Ok(log) => Some(log),
            Err(error) => {
                say(&format!("Could not open transactionlog {shown}, moving on without it: {error}"));
                None
            }
        }
    }

    /// Inodes are used again, and files truncated: what the last session knew counts if the file is as long as it was
    /// then. With payloads there is a record that says so at each opening, whatever stands before it.
    fn begin(&self) -> io::Result<()> {
        let mut end = self.end();
        end.sessions += 1;
        let len = self.file.metadata()?.len();
        if end.sessions == 1 && (len == 0 || len != end.len) {
            end.payloads = (len == 0).then_some(false);
        }
        if self.datalog {
            self.write_whole(&mut [IoSlice::new(&payloads_follow(true))])?;
            end.payloads = Some(true);
        }
        Ok(())
    }

    fn append(&self, header: &[u8], payload: &[u8]) {
        let mut end = self.end();
        if self.given_up.load(Ordering::Relaxed) {
            return;
        }
        // Sessions that began before a reload, or before this process, may have logged in the other way.
        let turn = (end.payloads != Some(self.datalog)).then(|| payloads_follow(self.datalog));
        let turn = turn.as_ref().map_or(&[][..], |turn| &turn[..]);
        match self.write_whole(&mut [turn, header, payload].map(IoSlice::new)) {
            Ok(()) => end.payloads = Some(self.datalog),
            Err(error) => {
                self.given_up.store(true, Ordering::Relaxed);
                drop(end);
                (self.complain)(&error);
            }
        }
    }

    /// All of it, in one `write` as long as the system takes it whole; or nothing.
    fn write_whole(&self, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        let mut written = 0;
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            match (&self.file).write_vectored(parts) {
                Ok(0) => return Err(self.take_back(written, io::ErrorKind::WriteZero.into())),
                Ok(count) => {
                    written += count as u64;
                    IoSlice::advance_slices(&mut parts, count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.take_back(written, error)),
            }
        }
        Ok(())
    }

    /// A reader takes what follows half a record for its rest. So that goes again, unless somebody else has appended.
    fn take_back(&self, written: u64, error: io::Error) -> io::Error {
        let position = (&self.file).stream_position();
        if let (Ok(position), Ok(metadata)) = (position, self.file.metadata())
            && written > 0
            && position == metadata.len()
        {
            let _ = self.file.set_len(position.saturating_sub(written));
        }
        error
    }

    fn end(&self) -> MutexGuard<'_, End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TransactionLog {
    fn drop(&mut self) {
        let mut end = self.end();
        end.sessions = end.sessions.saturating_sub(1);
        end.len = self.file.metadata().map(|metadata| metadata.len()).unwrap_or_default();
    }
}

impl Journal for TransactionLog {
    fn wants_payloads(&self) -> bool {
        self.datalog
    }

    fn request(&self, header: &[u8; Request::SIZE], payload: &[u8]) {
        self.append(header, payload);
    }

    fn reply(&self, reply: &[u8; SimpleReply::SIZE]) {
        self.append(reply, &[]);
    }
}
