//! What is shown of a pull, on stderr: bars on a terminal, lines elsewhere. Docker's words.

use std::io::{self, IsTerminal};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::oci::digest::Digest;

/// Where a layer is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Waiting,
    /// So many bytes are here.
    Downloading(u64),
    Downloaded,
    Extracting,
    Complete,
    /// The store had it.
    There,
}

impl Stage {
    fn words(self) -> &'static str {
        match self {
            Stage::Waiting => "Pulling fs layer",
            Stage::Downloading(_) => "Downloading",
            Stage::Downloaded => "Download complete",
            Stage::Extracting => "Extracting",
            Stage::Complete => "Pull complete",
            Stage::There => "Already exists",
        }
    }

    fn is_last(self) -> bool {
        matches!(self, Stage::Complete | Stage::There)
    }
}

/// The lines of one pull.
pub enum Display {
    Nothing,
    Lines(Vec<(Digest, Stage)>),
    Bars(MultiProgress, Vec<(Digest, Stage, ProgressBar)>),
}

impl Display {
    /// Chooses by where stderr leads.
    pub fn new(quiet: bool) -> Display {
        match quiet {
            true => Display::Nothing,
            false if io::stderr().is_terminal() => {
                Display::Bars(MultiProgress::with_draw_target(ProgressDrawTarget::stderr()), Vec::new())
            }
            false => Display::Lines(Vec::new()),
        }
    }

    /// Says something beside the layers.
    pub fn say(&self, text: &str) {
        match self {
            Display::Nothing => {}
            Display::Lines(_) => eprintln!("{text}"),
            Display::Bars(bars, _) => drop(bars.println(text)),
        }
    }

    /// A layer of `size` bytes appears.
    pub fn add(&mut self, digest: &Digest, size: u64) {
        match self {
            Display::Nothing => {}
            Display::Lines(layers) => {
                eprintln!("{}: {}", digest.short(), Stage::Waiting.words());
                layers.push((digest.clone(), Stage::Waiting));
            }
            Display::Bars(bars, layers) => {
                let bar = bars.add(ProgressBar::new(size).with_style(style("{prefix}: {msg}")));
                bar.set_prefix(digest.short().to_string());
                bar.set_message(Stage::Waiting.words());
                layers.push((digest.clone(), Stage::Waiting, bar));
            }
        }
    }

    /// A layer has got somewhere. Steps back, such as bytes that are counted late, are not shown.
    pub fn set(&mut self, digest: &Digest, stage: Stage) {
        match self {
            Display::Nothing => {}
            Display::Lines(layers) => {
                for (_, shown) in
                    layers.iter_mut().filter(|(known, shown)| known == digest && !shown.is_last() && *shown != stage)
                {
                    *shown = stage;
                    if matches!(stage, Stage::Downloaded | Stage::Complete | Stage::There) {
                        eprintln!("{}: {}", digest.short(), stage.words());
                    }
                }
            }
            Display::Bars(_, layers) => {
                for (_, shown, bar) in layers.iter_mut().filter(|(known, shown, _)| known == digest && !shown.is_last()) {
                    draw(bar, *shown, stage);
                    *shown = stage;
                }
            }
        }
    }

    /// Leaves the terminal fit for an error.
    pub fn abandon(&self) {
        if let Display::Bars(_, layers) = self {
            layers.iter().for_each(|(_, _, bar)| bar.abandon());
        }
    }
}

fn draw(bar: &ProgressBar, before: Stage, stage: Stage) {
    let downloading = |stage| matches!(stage, Stage::Downloading(_));
    if downloading(stage) != downloading(before) {
        bar.set_style(style(match stage {
            Stage::Downloading(_) => "{prefix}: {msg} [{bar:30}] {bytes}/{total_bytes}",
            _ => "{prefix}: {msg}",
        }));
    }
    bar.set_message(stage.words());
    match stage {
        Stage::Downloading(bytes) => bar.set_position(bytes),
        stage if stage.is_last() => bar.finish(),
        _ => {}
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("a constant").progress_chars("=> ")
}
