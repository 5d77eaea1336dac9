//! The `intercomd` program: reads its arguments and hands over.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use intercomd::config::{self, LoadArgs, Loaded};
use intercomd::daemon;
use intercomd::service::{ctl, logging};
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
    /// Try camera, speaker, microphone and echo for real; heard for 8 s. Exit codes: 0 good, 1 something is wrong.
    Selftest {
        #[command(flatten)]
        config: ConfigArgs,
        /// One JSON object in place of text.
        #[arg(long)]
        json: bool,
    },
    /// Talk to the running door. Exit codes: 0 done, 1 refused, 3 no daemon, 4 not permitted.
    Ctl(ctl::CtlArgs),
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

impl From<ConfigArgs> for LoadArgs {
    fn from(args: ConfigArgs) -> Self {
        Self { config: args.config, board: args.board, socket: args.socket }
    }
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run(args) => run(&args.into()),
        Command::CheckConfig(args) => check_config(&args.into()),
        Command::Selftest { config, json } => intercomd::selftest::run(&config.into(), json),
        Command::Ctl(args) => ctl::run(args),
    }
}

/// Starts this program anew with one heap for all threads. Each call starts and ends some twenty media
/// threads, and glibc's heap per thread keeps what they freed: about 1 MB more resident per call, without
/// end in sight. The variable is read at a program's start only.
fn with_one_heap() {
    const VARIABLE: &str = "MALLOC_ARENA_MAX";
    if std::env::var_os(VARIABLE).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let why = std::process::Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(VARIABLE, "1")
        .exec();
    warn!("cannot limit the heap ({why}); the daemon will use more memory with every call");
}

fn run(args: &LoadArgs) -> ExitCode {
    logging::init();
    with_one_heap();
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
