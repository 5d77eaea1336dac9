//! The `intercomd` program: reads its arguments and hands over.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use intercomd::config::{self, LoadArgs, Loaded};
use intercomd::service::{ctl, logging, manual};
use intercomd::{daemon, devices, hardware, setup};
use tracing::{debug, error, warn};

/// Exit code for a configuration that cannot be used (EX_CONFIG of sysexits.h).
const BAD_CONFIGURATION: u8 = 78;

/// A video door intercom: press the button, and whoever has the page open sees and talks.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the door. Exit codes: 0 stopped, 1 something essential failed, 78 bad configuration.
    Run(ConfigArgs),
    /// Check the configuration and print every problem. Exit codes: 0 good, 1 problems.
    CheckConfig(ConfigArgs),
    /// List what this machine has, and what the door would take of it and why. Exit codes: 0 listed, 1 failed.
    Devices(DevicesArgs),
    /// Switch relay, lamp and buzzer off, with no door running. Exit codes: 0 off, 1 not all of them.
    OutputsOff(ConfigArgs),
    /// Try all a call needs, devices, network, service and servers, for real; heard for 8 s. Exit codes: 0 good, 1
    /// something is wrong.
    Selftest {
        #[command(flatten)]
        config: ConfigArgs,
        /// One JSON object in place of text.
        #[arg(long)]
        json: bool,
    },
    /// Set the door up: some questions, or the same as flags. Exit codes: 0 set up, 1 not.
    Setup(setup::SetupArgs),
    /// Talk to the running door. Exit codes: 0 done, 1 refused, 3 no daemon, 4 not permitted.
    Ctl(ctl::CtlArgs),
    /// Write man pages and shell completions into a folder, for a package.
    #[command(hide = true)]
    Manual {
        /// The folder; made if it is missing
        folder: PathBuf,
    },
}

#[derive(Debug, Args)]
struct ConfigArgs {
    /// The configuration file [default: /etc/intercomd/config.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The board profile, in place of the configuration's
    #[arg(long, value_name = "NAME|FILE")]
    board: Option<String>,
    /// The control socket [default: /run/intercomd/control.sock]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct DevicesArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// As one JSON object
    #[arg(long)]
    json: bool,
    /// Only the controls of this camera node, as JSON; the program asks itself
    #[arg(long, value_name = "NODE", hide = true)]
    controls: Option<String>,
}

impl From<ConfigArgs> for LoadArgs {
    fn from(args: ConfigArgs) -> Self {
        Self { config: args.config, board: args.board, socket: args.socket }
    }
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run(args) => run(&args.into()),
        Command::CheckConfig(args) => check_config(&args.into()),
        Command::Devices(args) => list_devices(args),
        Command::OutputsOff(args) => outputs_off(&args.into()),
        Command::Selftest { config, json } => intercomd::selftest::run(&config.into(), json),
        Command::Setup(args) => setup::run(&args),
        Command::Ctl(args) => ctl::run(args, intercomd::diagnose::report),
        Command::Manual { folder } => write_manual(&folder),
    }
}

/// How the heap is kept; read at a program's start only. Each call starts and ends some twenty media threads, and
/// glibc's heap per thread keeps what they freed: about 1 MB more resident per call, without end in sight. GLib's own
/// heap within the heap, which GLib 2.76 gave up, keeps some megabytes more and tears holes into the rest.
const HEAP: [(&str, &str); 2] = [("MALLOC_ARENA_MAX", "1"), ("G_SLICE", "always-malloc")];

/// Starts this program anew with one heap for all threads.
fn with_one_heap() {
    if HEAP.iter().all(|(variable, _)| std::env::var_os(variable).is_some()) {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    // What the owner has set stays.
    let missing = HEAP.into_iter().filter(|(variable, _)| std::env::var_os(variable).is_none());
    let mut again = std::process::Command::new(program);
    let why = again.args(std::env::args_os().skip(1)).envs(missing).exec();
    warn!("cannot limit the heap ({why}); the daemon will use more memory with every call");
}

/// A panic of any thread ends the program, however it was built: a door of which a part is missing is worse than one that is
/// started anew.
fn end_with_a_panic() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        std::process::abort();
    }));
}

fn run(args: &LoadArgs) -> ExitCode {
    logging::init();
    with_one_heap();
    end_with_a_panic();
    let loaded = match config::load(args) {
        Ok(loaded) => loaded,
        Err(problems) => {
            for problem in &problems.0 {
                error!("{problem}");
            }
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    for source in &loaded.sources {
        debug!("read {}", source.display());
    }
    for warning in &loaded.warnings {
        warn!("{warning}");
    }
    // Two workers: one link more costs no thread, and media threads are GStreamer's own.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(why) => {
            error!("the kernel gives no threads: {why}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(daemon::run(loaded.settings));
    // Devices are closed by now; a thread that hangs in one must not hold up the exit.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            error!("{why:#}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the answer of a command line tool")]
fn check_config(args: &LoadArgs) -> ExitCode {
    match config::load(args) {
        Ok(Loaded { warnings, .. }) => {
            for warning in warnings {
                eprintln!("warning: {warning}");
            }
            println!("the configuration is good");
            ExitCode::SUCCESS
        }
        Err(problems) => {
            eprintln!("{problems}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the answer of a command line tool")]
fn list_devices(args: DevicesArgs) -> ExitCode {
    if let Some(node) = args.controls {
        return match devices::controls_of(&node) {
            Ok(list) => {
                println!("{list}");
                ExitCode::SUCCESS
            }
            Err(why) => {
                // The program that asks reads this end only.
                println!("{why}");
                ExitCode::FAILURE
            }
        };
    }
    let listing = devices::list(&args.config.into());
    let text = match listing {
        Ok(listing) if args.json => listing.json().map_err(|error| error.to_string()),
        Ok(listing) => Ok(listing.text()),
        Err(error) => Err(error.to_string()),
    };
    match text {
        Ok(text) => {
            println!("{}", text.trim_end());
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// For the moment after the daemon, however it ended: the unit's stop script. Does what can be done of it
/// and says what could not.
#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the answer of a command line tool")]
fn outputs_off(args: &LoadArgs) -> ExitCode {
    let (outputs, problems) = config::outputs(args);
    for problem in &problems.0 {
        eprintln!("{problem}");
    }
    if !problems.0.is_empty() {
        eprintln!("going on with what could be read; an output named there alone is not touched");
    }
    let done = hardware::switch_off(&outputs);
    let mut all = problems.0.is_empty();
    for off in &done {
        match &off.outcome {
            Ok(()) => println!("{} ({}) is off", off.output, off.place),
            Err(why) => {
                all = false;
                eprintln!("{} ({}) may be on: {why}", off.output, off.place);
            }
        }
    }
    if done.is_empty() {
        println!("nothing to switch off: no output is wired, or the panel is simulated");
    }
    if all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(clippy::print_stderr, reason = "the answer of a command line tool")]
fn write_manual(folder: &Path) -> ExitCode {
    match manual::write(Arguments::command(), folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
