//! A wrong command line, told in one line: what is wrong, what would be right, and whose help says more.

use std::error::Error as _;
use std::ffi::OsString;
use std::num::ParseIntError;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, CommandFactory as _};

use super::Cli;

/// What is wrong with what was typed, the name of the program included.
pub(crate) fn mistake(error: &clap::Error, words: &[OsString]) -> String {
    let (said, command) = (said(error), command_of(words));
    match said.ends_with('?') {
        true => format!("{said} See `{command} --help`"),
        false => format!("{said}; see `{command} --help`"),
    }
}

fn said(error: &clap::Error) -> String {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let texts = |kind| match error.get(kind) {
        Some(ContextValue::Strings(texts)) => &texts[..],
        Some(ContextValue::String(text)) => std::slice::from_ref(text),
        _ => &[],
    };
    let (argument, value) = (text(ContextKind::InvalidArg), text(ContextKind::InvalidValue));
    match (error.kind(), argument, value) {
        (ErrorKind::ValueValidation, Some(argument), Some(value)) => {
            format!("invalid value '{value}' for '{argument}': {}", why(error, value))
        }
        (ErrorKind::MissingRequiredArgument, ..) => missing(texts(ContextKind::InvalidArg)),
        (ErrorKind::InvalidSubcommand, ..) => {
            let typed = text(ContextKind::InvalidSubcommand).unwrap_or_default();
            let near = texts(ContextKind::SuggestedSubcommand).first();
            let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            format!("there is no command `{typed}`{near}")
        }
        _ => in_one_line(&error.to_string()),
    }
}

/// Why a value is none, with what would be one.
fn why(error: &clap::Error, value: &str) -> String {
    let Some(source) = error.source() else { return "it cannot be understood".to_owned() };
    if source.is::<ParseIntError>() {
        let range = if value.starts_with('-') { " from 0" } else { "" };
        return format!("write a whole number{range}");
    }
    let text = source.to_string();
    // `300 is not in 0..=256`
    let range = text.split_once(" is not in ").and_then(|(_, range)| range.split_once("..="));
    match range {
        Some((least, most)) => format!("write a whole number from {least} to {most}"),
        None => text,
    }
}

/// `<POOL/BACKEND>... is missing`; of a group, `<ID|--all>`, one is enough.
fn missing(what: &[String]) -> String {
    let group = |text: &str| text.strip_prefix('<')?.strip_suffix('>').map(str::to_owned);
    let one = |text: &String| match group(text).filter(|group| group.contains('|')) {
        Some(group) => list(&group.split('|').map(str::to_owned).collect::<Vec<_>>(), "or"),
        None => text.clone(),
    };
    let what: Vec<String> = what.iter().map(one).collect();
    let verb = if what.len() > 1 { "are" } else { "is" };
    format!("{} {verb} missing", list(&what, "and"))
}

/// `a`, `a and b`, `a, b and c`
fn list(words: &[String], last: &str) -> String {
    match words {
        [] => "an argument".to_owned(),
        [word] => word.clone(),
        [first @ .., word] => format!("{} {last} {word}", first.join(", ")),
    }
}

/// What clap says on several lines. The usage comes after what is wrong, and is what --help is for.
fn in_one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with("For more information"));
    let (mut said, mut in_list) = (String::new(), false);
    for line in lines {
        said += match (said.is_empty(), said.ends_with(':'), in_list) {
            (true, ..) => "",
            (false, true, _) => " ",
            (false, false, true) if line.starts_with(['-', '<']) => ", ",
            (false, false, _) => "; ",
        };
        in_list |= said.ends_with(": ");
        said += &reworded(line.trim_start_matches("error: "));
    }
    said
}

/// What would be right, as the rest of the program says it.
fn reworded(line: &str) -> String {
    if let Some(values) = line.strip_prefix("[possible values: ") {
        return format!("write one of {}", values.trim_end_matches(']'));
    }
    let Some(tip) = line.strip_prefix("tip: ") else { return line.to_owned() };
    let near = tip.split_once(" exists: ").or_else(|| tip.split_once(" exist: "));
    match near {
        Some((_, near)) => format!("did you mean {}?", near.replace('\'', "`")),
        None => tip.to_owned(),
    }
}

/// `evenkeel ctl weight` of `evenkeel ctl --json weight web/a ten`.
fn command_of(words: &[OsString]) -> String {
    let mut all = Cli::command();
    // Global options are then known below as well.
    all.build();
    let (mut command, mut name) = (&all, all.get_name().to_owned());
    let mut words = words.iter().skip(1).map(|word| word.to_string_lossy());
    while let Some(word) = words.next() {
        if word.starts_with('-') {
            // The next word is its value, also where a command is called like that.
            if command.get_arguments().any(|option| is_called(option, &word)) {
                words.next();
            }
            continue;
        }
        let Some(below) = command.find_subcommand(&*word) else { break };
        if below.get_name() == "help" {
            break;
        }
        name += &format!(" {}", below.get_name());
        command = below;
    }
    name
}

/// Whether `word` is this option, and its value another word.
fn is_called(option: &Arg, word: &str) -> bool {
    let long = word.strip_prefix("--").is_some_and(|long| option.get_long() == Some(long));
    let short = option.get_short().is_some_and(|short| word == format!("-{short}"));
    option.get_action().takes_values() && (long || short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_says_what_would_be_right_and_points_to_its_own_help() {
        for (line, says) in [
            (
                "ctl weight b ten",
                "invalid value 'ten' for '<N>': write a whole number from 0 to 256; see `evenkeel ctl weight --help`",
            ),
            (
                "ctl weight b -5",
                "invalid value '-5' for '<N>': write a whole number from 0 to 256; see `evenkeel ctl weight --help`",
            ),
            (
                "ctl add a:1 --weight 257",
                "invalid value '257' for '--weight <N>': write a whole number from 0 to 256; see `evenkeel ctl add --help`",
            ),
            ("ctl drain", "<POOL/BACKEND>... is missing; see `evenkeel ctl drain --help`"),
            ("ctl weight", "<POOL/BACKEND> and <N> are missing; see `evenkeel ctl weight --help`"),
            (
                "ctl kill",
                "ID, --all, --pool <POOL>, --backend <POOL/BACKEND>, --listener <LISTENER>, --client <ADDRESS>, \
                 --state <STATE>, --min-age <TIME> or --min-idle <TIME> is missing; see `evenkeel ctl kill --help`",
            ),
            (
                "ctl sessions --state foo",
                "invalid value 'foo' for '--state <STATE>'; write one of greeting, waiting, connecting, relaying, \
                 moving, turned-away, closing; see `evenkeel ctl sessions --help`",
            ),
            (
                "demo -d 0",
                "invalid value '0' for '--duration <TIME>': it must be longer than nothing, as in 500ms, 3s or 1h; \
                 see `evenkeel demo --help`",
            ),
            (
                "-p x",
                "invalid value 'x' for '--port <PORT>': write a whole number; see `evenkeel --help`",
            ),
            (
                "ctl events -n -3",
                "invalid value '-3' for '--number <N>': write a whole number from 0; see `evenkeel ctl events --help`",
            ),
            (
                "-p 70000",
                "invalid value '70000' for '--port <PORT>': write a whole number from 0 to 65535; see `evenkeel --help`",
            ),
            (
                "ctl drian a",
                "there is no command `drian`; did you mean `drain`? See `evenkeel ctl --help`",
            ),
            ("nothing", "there is no command `nothing`; see `evenkeel --help`"),
            (
                "ctl status --jsn",
                "unexpected argument '--jsn' found; did you mean `--json`? See `evenkeel ctl status --help`",
            ),
            (
                "ctl kill 0-1-1 --all",
                "the argument '[ID]...' cannot be used with '--all'; see `evenkeel ctl kill --help`",
            ),
            (
                "completions tcsh",
                "invalid value 'tcsh' for '<SHELL>'; write one of bash, zsh, fish; did you mean `zsh`? See \
                 `evenkeel completions --help`",
            ),
            (
                "check --config a.toml --port 1",
                "--port is not for use beside --config; write `listen` in [[listener]] in the file; see \
                 `evenkeel check --help`",
            ),
        ] {
            let words: Vec<OsString> = std::iter::once("evenkeel")
                .chain(line.split_whitespace())
                .map(Into::into)
                .collect();
            let error = Cli::read(words.clone()).expect_err(line);
            assert_eq!(mistake(&error, &words), says, "{line}");
        }
    }

    #[test]
    fn the_value_of_an_option_is_no_command() {
        for (line, command) in [
            ("ctl --token-file drain status x", "evenkeel ctl status"),
            ("ctl --token-file=drain --json status", "evenkeel ctl status"),
            ("ctl explain --admin backend client", "evenkeel ctl explain client"),
            ("ctl wait drain", "evenkeel ctl wait"),
            ("ctl drian drain", "evenkeel ctl"),
            ("help ctl", "evenkeel"),
            ("-b a:1 demo", "evenkeel demo"),
            ("", "evenkeel"),
        ] {
            let words = std::iter::once("evenkeel").chain(line.split_whitespace());
            assert_eq!(command_of(&words.map(Into::into).collect::<Vec<_>>()), command, "{line}");
        }
    }

    #[test]
    fn what_several_lines_say_is_one_sentence() {
        let text = "error: the argument '--all' cannot be used with:\n  --pool <POOL>\n  --state <STATE>\n\n  \
                    tip: a b\n\nUsage: x\n\nFor more information, try '--help'.\n";
        let said = "the argument '--all' cannot be used with: --pool <POOL>, --state <STATE>; a b";
        assert_eq!(in_one_line(text), said);
    }
}
