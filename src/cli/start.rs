//! `rl start`.

use anyhow::{Result, bail};

use super::filters::{Filters, name_fits};
use super::run::Attached;
use super::{Context, each};
use crate::container::attend::Company;
use crate::container::record::{self, Record};
use crate::container::{boot, lifecycle};
use crate::error::Advise;
use crate::userns::shared;

/// Start containers that were created, or have ended
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Stay with it: show its output, pass signals on, end with its exit code
    #[arg(short, long)]
    attach: bool,
    /// Give it this input too
    #[arg(short, long)]
    interactive: bool,
    #[command(flatten)]
    attached: Attached,
    /// Start all that do not run
    #[arg(long, conflicts_with_all = ["attach", "interactive", "containers"])]
    all: bool,
    /// Of all only those for which it is so: id, name, label, status, restart-policy, should-start-on-boot
    #[arg(short, long, value_name = "KEY=VALUE", requires = "all")]
    filter: Vec<String>,
    /// Names, ids, or beginnings of ids
    #[arg(required_unless_present = "all", value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Prints the names of those that run; attached, ends with the exit code.
pub fn run(args: &Args, context: &Context) -> Result<u8> {
    let pending = || shared::begin(&context.caller, &context.paths.runtime);
    if args.attach || args.interactive {
        let [wanted] = &args.containers[..] else { bail!("only one container can be attached to") };
        return lifecycle::start(&context.paths, wanted, &args.attached.company(args.interactive), pending);
    }
    let wanted = if args.all { filtered(args, context)? } else { args.containers.clone() };
    let code = each(&wanted, |wanted| lifecycle::start(&context.paths, wanted, &Company::None, pending).map(drop))?;
    boot::warn_of_logout(&context.paths, &context.caller);
    Ok(code)
}

/// The ids of what is down and fits.
fn filtered(args: &Args, context: &Context) -> Result<Vec<String>> {
    let filters =
        Filters::read(&args.filter, &["id", "name", "label", "label!", "status", "restart-policy", "should-start-on-boot"])?;
    filters.check("should-start-on-boot", &["true", "false"]).hint(|| "should-start-on-boot=true")?;
    let fits = |record: &Record| {
        let policy = record.config.restart.to_string();
        filters.any("id", |wanted| record.config.id.starts_with(wanted))
            && filters.any("name", |wanted| name_fits(wanted, &record.config.name))
            && filters.labels(&record.config.labels)
            && filters.any("status", |wanted| wanted == record.state.status.word())
            && filters.any("restart-policy", |wanted| Some(wanted) == policy.split(':').next())
            && filters.any("should-start-on-boot", |wanted| wanted == boot::starts(record).to_string())
    };
    let found = record::list(&context.paths)?;
    // The oldest first: as far as anybody can tell, the others need it.
    Ok(found.iter().rev().filter(|record| !record.state.status.is_up() && fits(record)).map(|r| r.config.id.clone()).collect())
}
