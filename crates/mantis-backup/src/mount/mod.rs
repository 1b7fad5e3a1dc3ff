//! Every backup of a repository as a file that can only be read, in a folder: FUSE, on Linux.
//!
//! - [`tree`]: what the folder shows, and under which names;
//! - [`open_file`]: one of its files, read from the repository as it is asked for;
//! - [`file_system`]: what the kernel asks, answered;
//! - [`mount`]: from the first to the last moment of it.

mod file_system;
mod open_file;
mod tree;

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fuser::{Config, MountOption, Session, SessionACL};
use mantis_repo::Repository;
use mantis_stream::CancellationToken;
use rustix::mount::UnmountFlags;
use tokio::sync::oneshot;

use crate::Error;
use file_system::BackupFiles;

/// What the kernel asks that is answered at once.
const THREADS: usize = 8;

/// What is to be mounted, and where.
pub(crate) struct MountJob {
    pub(crate) repo: Repository,
    /// An empty folder.
    pub(crate) folder: PathBuf,
    /// The backups of this source alone.
    pub(crate) source: Option<String>,
    /// SQLite databases byte for byte, also where other programs cannot open them so.
    pub(crate) exact: bool,
    /// Other users may look, too.
    pub(crate) others: bool,
    /// Unmounts.
    pub(crate) cancel: CancellationToken,
}

/// What is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mounted {
    pub(crate) backups: usize,
    pub(crate) sources: usize,
}

fn failed(doing: String, error: io::Error, help: &str) -> Error {
    Error::Other { doing, source: error.into(), help: Some(help.to_owned()) }
}

/// The folder, which must be there and empty: what it has would be hidden.
fn empty_folder(folder: &Path) -> Result<PathBuf, Error> {
    let doing = || format!("mount at {}", folder.display());
    let help = |error: &io::Error| match error.raw_os_error().map(io::Error::from_raw_os_error) {
        Some(_) if error.kind() == io::ErrorKind::NotConnected => {
            "it is left from a mount that was killed: unmount it first, by `umount` or `fusermount3 -u`"
        }
        Some(_) if error.kind() == io::ErrorKind::NotFound => "make that folder first",
        _ => "name an empty folder",
    };
    let read = || {
        let whole = folder.canonicalize()?;
        let has_some = std::fs::read_dir(&whole)?.next().is_some();
        Ok((whole, has_some))
    };
    match read() {
        Ok((whole, false)) => Ok(whole),
        Ok((_, true)) => Err(Error::usage(
            format!("{} is not empty: what it has would be hidden", folder.display()),
            "name an empty folder",
        )),
        Err(error) => {
            let help = help(&error);
            Err(failed(doing(), error, help))
        }
    }
}

/// Takes the folder out of everyone's sight. Files that are open in it can be read until they are closed.
fn detach(folder: &Path) -> io::Result<()> {
    let Err(error) = rustix::mount::unmount(folder, UnmountFlags::DETACH) else { return Ok(()) };
    // Whoever is not root has the program that may.
    let unmounts = |program: &&str| {
        let mut command = Command::new(program);
        command.args(["-u", "-z", "--"]).arg(folder).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let unmounted = ["fusermount3", "fusermount"].iter().any(unmounts);
    if unmounted { Ok(()) } else { Err(error.into()) }
}

/// Shows a repository's backups until the folder is unmounted, or until it is cancelled; `begun` is called once they are there.
///
/// # Errors
/// A folder that is not there or not empty, a repository that cannot be listed, and a machine that does not let its user mount.
pub(crate) async fn mount(
    job: MountJob,
    begun: impl FnOnce(Mounted) -> Result<(), Error>,
) -> Result<(), Error> {
    let MountJob { repo, folder, source, exact, others, cancel } = job;
    let folder = empty_folder(&folder)?;
    let files = BackupFiles::of(repo, source, exact, others).await?;
    let mounted = files.count();
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::RO,
        MountOption::NoSuid,
        MountOption::NoDev,
        MountOption::NoExec,
        MountOption::NoAtime,
        MountOption::FSName("mantis".into()),
    ];
    if others {
        config.mount_options.push(MountOption::DefaultPermissions);
    }
    config.acl = if others { SessionACL::All } else { SessionACL::Owner };
    config.n_threads = Some(THREADS);
    let (answer, mut ended) = oneshot::channel();
    let (tell, told) = oneshot::channel();
    let at = folder.clone();
    // The kernel is answered on threads of their own, which wait for the store: the runtime's must not.
    let session = std::thread::Builder::new().name("mount".into()).spawn(move || {
        let session = match Session::new(files, &at, &config) {
            Ok(session) => session,
            Err(error) => return drop(tell.send(Err(error))),
        };
        let _ = tell.send(Ok(()));
        let _ = answer.send(session.run());
    });
    session.map_err(|error| Error::io("begin a thread", error))?;
    let gone = |_| Err(io::Error::other("its thread ended"));
    told.await.unwrap_or_else(gone).map_err(|error| {
        failed(
            format!("mount at {}", folder.display()),
            error,
            "mounting takes FUSE: /dev/fuse, and root or the package fuse3; a container needs the device and CAP_SYS_ADMIN",
        )
    })?;
    let shown = begun(mounted);
    let ending = async {
        if shown.is_ok() {
            cancel.cancelled().await;
        }
        if let Err(error) = detach(&folder) {
            tracing::error!(folder = %folder.display(), %error, "cannot unmount: do it by `umount`, which ends this");
        }
    };
    let ran = tokio::select! {
        ran = &mut ended => Some(ran),
        () = ending => None,
    };
    let ran = match ran {
        Some(ran) => ran,
        None => ended.await,
    };
    shown?;
    ran.unwrap_or_else(gone).map_err(|error| {
        failed(format!("show backups at {}", folder.display()), error, "mount it again")
    })
}
