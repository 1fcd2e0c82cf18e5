//! What a stranger reads of a comparison, made from its documents: `bench/RESULTS.md`, a picture
//! of each workload, and a part of the README. Nothing is measured here, and nothing is said that
//! a verdict does not support.

mod agreement;
mod equals;
mod headline;
mod input;
mod markdown;
mod not_ahead;
mod paired;
mod pictures;
mod readme;
mod results;
mod workload;

#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use input::Inputs;

/// Options of `bench publish`.
#[derive(Clone, Debug, Args)]
pub(crate) struct Arguments {
    /// Folder of the documents; the pictures go there, RESULTS.md beside it
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/results"))]
    results: PathBuf,
    /// File whose part between the markers is written
    #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md"))]
    readme: PathBuf,
    /// Write nothing; exit code 1 when what is there differs from what would be written
    #[arg(long)]
    check: bool,
    /// These documents, instead of the newest of each network in the folder
    #[arg(value_name = "FILES")]
    files: Vec<PathBuf>,
}

/// A file as it shall be.
#[derive(Debug)]
struct Page {
    path: PathBuf,
    text: String,
}

/// Writes the pages, or checks them.
///
/// # Errors
/// When there is no document, when one cannot be used, or when a page cannot be written, or
/// differs (`--check`).
pub(crate) fn run(arguments: &Arguments) -> io::Result<()> {
    let inputs = match arguments.files.as_slice() {
        [] => Inputs::newest_in(&arguments.results)?,
        files => Inputs::of(files)?,
    };
    let pages = pages(&inputs, arguments)?;
    let is_there = |page: &Page| fs::read_to_string(&page.path).is_ok_and(|now| now == page.text);
    let (same, differing): (Vec<_>, Vec<_>) = pages.iter().partition(|page| is_there(page));
    if arguments.check {
        return check(&same, &differing);
    }
    for page in &differing {
        fs::write(&page.path, &page.text)?;
        println!("wrote {}", page.path.display());
    }
    println!("{} files were right already", same.len());
    Ok(())
}

fn check(same: &[&Page], differing: &[&Page]) -> io::Result<()> {
    if differing.is_empty() {
        println!("{} files are what the documents say", same.len());
        return Ok(());
    }
    let names: Vec<_> = differing.iter().map(|page| page.path.display().to_string()).collect();
    let names = names.join(", ");
    Err(io::Error::other(format!(
        "not what the documents say: {names}; write them anew: cargo run -p bench -- publish"
    )))
}

fn pages(inputs: &Inputs, arguments: &Arguments) -> io::Result<Vec<Page>> {
    let folder = arguments.results.as_path();
    let readme = fs::read_to_string(&arguments.readme).map_err(|error| {
        io::Error::other(format!("{}: {error}; name it by --readme", arguments.readme.display()))
    })?;
    let readme = readme::with(&readme, &readme::part(inputs)).map_err(io::Error::other)?;
    let beside = folder.parent().unwrap_or(Path::new(""));
    let pictures = pictures::all(inputs).into_iter();
    let pictures = pictures.map(|(name, text)| Page { path: folder.join(name), text });
    let texts = [
        Page { path: beside.join("RESULTS.md"), text: results::page(inputs) },
        Page { path: arguments.readme.clone(), text: readme },
    ];
    Ok(texts.into_iter().chain(pictures).collect())
}
