//! What every benchmark does: a step in a shell, timed, with its peak memory.

use std::process::Command;
use std::time::Instant;

use crate::command::{output, root};

/// A step in a shell, in the workspace's root.
pub(super) fn shell(script: &str) -> Command {
    let mut command = Command::new("bash");
    command.args(["-ec", script]).current_dir(root());
    command
}

/// Runs a step; seconds and peak memory in MiB.
pub(super) fn measure(script: &str) -> Result<(f64, u64), String> {
    let timed = format!(
        "python3 -c 'import resource,subprocess,sys; code=subprocess.run([\"bash\",\"-ec\",sys.argv[1]], stdout=subprocess.DEVNULL).returncode; print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)' {script:?}",
    );
    let start = Instant::now();
    let printed = output(&mut shell(&timed))?;
    let seconds = start.elapsed().as_secs_f64();
    let peak = printed.trim().parse::<u64>().map_err(|error| format!("{printed}: {error}"))?;
    Ok((seconds, peak >> 10))
}

/// The one in the middle.
pub(super) fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}
