//! The resources that the process uses.

/// The memory in megabytes, now and at its peak.
#[derive(Clone, Copy)]
pub struct Memory {
    pub now_mb: f64,
    pub peak_mb: f64,
}

/// Reads it from `/proc`; not a number on systems without it.
pub fn memory() -> Memory {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
        kilobytes.map_or(f64::NAN, |kilobytes| kilobytes / 1024.0)
    };
    Memory {
        now_mb: field("VmRSS:"),
        peak_mb: field("VmHWM:"),
    }
}

/// Returns the seconds of processor time of this process, user and system; not a number without
/// `/proc`.
pub fn processor_seconds() -> f64 {
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name may contain blanks; it ends with the last bracket.
    let rest = stat.rsplit(')').next().unwrap_or_default();
    let ticks = rest
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|text| text.parse::<f64>().ok());
    let ticks: Vec<f64> = ticks.collect();
    if ticks.len() == 2 {
        ticks.iter().sum::<f64>() / TICKS_PER_SECOND
    } else {
        f64::NAN
    }
}

/// Resets the peak to the memory in use (`man 5 proc_pid_clear_refs`); without effect if there is
/// no `/proc`.
pub fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}
