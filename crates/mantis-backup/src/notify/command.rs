//! By a command.

use std::process::Stdio;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::io::AsyncWriteExt;

use super::{Notice, Notifier};
use crate::Error;
use crate::config::CommandConfig;

/// How long it may run.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tells a command: the notice as JSON on its standard input, its parts in its environment.
#[derive(Debug, Clone)]
pub struct Command(CommandConfig);

fn failed(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Other {
        doing: "run the command of a notification".into(),
        source: source.into(),
        help: Some("try it by hand: it finds JSON on its standard input".into()),
    }
}

impl Command {
    /// As the configuration has it.
    #[must_use]
    pub const fn new(config: CommandConfig) -> Self {
        Self(config)
    }

    async fn run(&self, notice: &Notice) -> Result<(), Error> {
        let mut command = tokio::process::Command::new("sh");
        command.args(["-c", &self.0.run]).stdin(Stdio::piped()).stdout(Stdio::null());
        command.stderr(Stdio::inherit()).kill_on_drop(true);
        for hole in Notice::HOLES {
            // Text from outside cannot hold what an environment cannot.
            let value = notice.value(hole).replace('\0', "\u{FFFD}");
            command.env(format!("MANTIS_{}", hole.to_uppercase()), value);
        }
        let mut child = command.spawn().map_err(failed)?;
        let input = serde_json::to_vec(notice).map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            // A command need not read what it is told.
            let _ = stdin.write_all(&input).await;
        }
        let ended = tokio::time::timeout(PATIENCE, child.wait()).await;
        let status = ended.map_err(|_| failed("it ran for more than a minute, and was ended"))?;
        let status = status.map_err(failed)?;
        if status.success() { Ok(()) } else { Err(failed(status.to_string())) }
    }
}

impl Notifier for Command {
    fn notify<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(self.run(notice))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Occasion;

    #[tokio::test]
    async fn a_command_is_told_and_its_failure_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("told");
        let run = format!("cat > {0}; echo \"$MANTIS_TITLE\" >> {0}", file.display());
        let notice = Notice::new(Occasion::Missed, "it's \"$(x)\"", "two runs");
        Command::new(CommandConfig { run }).notify(&notice).await.unwrap();
        let told = std::fs::read_to_string(&file).unwrap();
        assert!(
            told.contains("\"event\":\"missed\"") && told.ends_with("it's \"$(x)\"\n"),
            "{told}"
        );
        let failing = Command::new(CommandConfig { run: "exit 3".into() });
        assert!(failing.notify(&notice).await.unwrap_err().chain().contains("exit status: 3"));
    }
}
