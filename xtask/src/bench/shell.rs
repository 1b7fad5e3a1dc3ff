//! What every benchmark does: a step in a shell, timed, with its peak memory.

use std::process::Command;

use crate::command::{output, root};

/// Runs a step; prints its seconds, and the peak memory of its largest process in KiB. The start of this program
/// itself does not count.
const MEASURE: &str = "
import resource, subprocess, sys, time
start = time.perf_counter()
code = subprocess.run(['bash', '-ec', sys.argv[1]], stdout=subprocess.DEVNULL).returncode
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
";

/// A step in a shell, in the workspace's root.
pub(super) fn shell(script: &str) -> Command {
    let mut command = Command::new("bash");
    command.args(["-ec", script]).current_dir(root());
    command
}

/// Runs a step; seconds and peak memory in MiB.
pub(super) fn measure(script: &str) -> Result<(f64, u64), String> {
    let printed =
        output(Command::new("python3").args(["-c", MEASURE, script]).current_dir(root()))?;
    let wrong = || format!("the measurement printed {printed:?}");
    let (seconds, peak) = printed.trim().split_once(' ').ok_or_else(wrong)?;
    let seconds = seconds.parse().map_err(|_| wrong())?;
    let peak: u64 = peak.parse().map_err(|_| wrong())?;
    Ok((seconds, peak >> 10))
}

/// The one in the middle.
pub(super) fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}
