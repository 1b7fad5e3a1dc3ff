//! What every benchmark does: a step in a shell, and what it cost.

use std::process::Command;

use crate::command::{output, root};

/// Runs a step; prints its seconds, those of the processor, the peak memory of its largest process in KiB, and the blocks of 512 bytes
/// that it read from a disk and wrote, by the kernel's count. The start of this program itself does not count.
const MEASURE: &str = "
import resource, subprocess, sys, time
start = time.perf_counter()
code = subprocess.run(['bash', '-ec', sys.argv[1]], stdout=subprocess.DEVNULL).returncode
took = time.perf_counter() - start
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(took, used.ru_utime + used.ru_stime, used.ru_maxrss, used.ru_inblock, used.ru_oublock)
sys.exit(code)
";

/// What a step cost.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cost {
    /// Seconds on the clock.
    pub(super) wall: f64,
    /// Seconds of all cores together.
    pub(super) cpu: f64,
    /// Resident memory of its largest process at its peak, in MiB.
    pub(super) peak: f64,
    /// MiB read from a disk: none of what is in the page cache.
    pub(super) read: f64,
    /// MiB written.
    pub(super) written: f64,
}

/// A step in a shell, in the workspace's root.
pub(super) fn shell(script: &str) -> Command {
    let mut command = Command::new("bash");
    command.args(["-ec", script]).current_dir(root());
    command
}

/// Runs a step.
pub(super) fn measure(script: &str) -> Result<Cost, String> {
    let printed =
        output(Command::new("python3").args(["-c", MEASURE, script]).current_dir(root()))?;
    let numbers: Vec<f64> =
        printed.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match numbers[..] {
        [wall, cpu, peak, read, written] => {
            let blocks = |blocks: f64| blocks * 512.0 / f64::from(1 << 20);
            let (read, written) = (blocks(read), blocks(written));
            Ok(Cost { wall, cpu, peak: peak / 1024.0, read, written })
        }
        _ => Err(format!("the measurement printed {printed:?}")),
    }
}

/// The one in the middle.
pub(super) fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.retain(|number| !number.is_nan());
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The median of one figure of several costs.
pub(super) fn middle(costs: &[Cost], figure: impl Fn(&Cost) -> f64) -> f64 {
    median(costs.iter().map(figure).collect())
}
