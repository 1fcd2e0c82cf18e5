//! What a request says: an object in its body, words in its query, names in its path. What of it cannot
//! be used is refused here in words that name the cause and the cure, which axum and serde do not know.

use std::error::Error;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::path::ErrorKind;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::problem::Refusal;
use crate::config::problem::did_you_mean;

/// Something that is said in words with values.
pub(super) trait Words: DeserializeOwned {
    /// Each word with how its value is written.
    const WORDS: Forms;
}

/// Words, each with how its value is written.
pub(super) type Forms = &'static [(&'static str, &'static str)];

/// A body. It is an object: for serde a list would do as well, whose values nobody could tell apart.
#[derive(Debug)]
pub(super) struct Told<T>(pub(super) T);

/// A query.
#[derive(Debug)]
pub(super) struct Asked<T>(pub(super) T);

/// What is named in a path.
#[derive(Debug)]
pub(super) struct Named<T>(pub(super) T);

/// A query without a word in it.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

impl Words for Nothing {
    const WORDS: Forms = &[];
}

impl<T: Words, S: Send + Sync> FromRequest<S> for Told<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let (head, body) = request.into_parts();
        // It was read before anybody was asked for it, and is small.
        let body = to_bytes(body, usize::MAX).await;
        let body = body.map_err(|error| Refusal::wrong(format!("no body: {error}")))?;
        let again = Request::from_parts(head, Body::from(body.clone()));
        let said = match Json::<Value>::from_request(again, state).await {
            Ok(Json(Value::Object(said))) => said,
            Ok(Json(other)) => return Err(no_object::<T>(&other)),
            Err(rejection) => return Err(no_json::<T>(&rejection)),
        };
        let told = Json::<T>::from_bytes(&body).map(|Json(told)| Self(told));
        told.map_err(|rejection| {
            let said: Vec<_> =
                said.iter().map(|(word, value)| (word.clone(), value.to_string())).collect();
            Refusal::unusable(wrong_word::<T>(&said, &cause(&rejection)))
        })
    }
}

impl<T: Words, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request_parts(head: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let asked = Query::<T>::try_from_uri(&head.uri).map(|Query(asked)| Self(asked));
        asked.map_err(|rejection| {
            let said = Query::<Vec<(String, String)>>::try_from_uri(&head.uri);
            let mut said = said.map(|Query(said)| said).unwrap_or_default();
            said.iter_mut().for_each(|(_, value)| *value = format!("`{value}`"));
            Refusal::wrong(wrong_word::<T>(&said, &cause(&rejection)))
        })
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = Refusal;

    async fn from_request_parts(head: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let named = Path::<T>::from_request_parts(head, state).await;
        named.map(|Path(named)| Self(named)).map_err(|rejection| match &rejection {
            PathRejection::FailedToDeserializePathParams(error) => match error.kind() {
                ErrorKind::InvalidUtf8InPathParam { key } => Refusal::wrong(format!(
                    "`{key}` in the path is not UTF-8; write it percent-encoded, as %C3%A4 for \u{e4}"
                )),
                _ => Refusal::wrong(error.body_text()),
            },
            _ => Refusal::wrong(rejection.body_text()),
        })
    }
}

/// A body that is JSON, and not what it has to be.
fn no_object<T: Words>(body: &Value) -> Refusal {
    let is = match body {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Refusal::unusable(format!("the body is {is}; write an object with {}", any_of::<T>("and")))
}

/// A body that is no JSON, or is not said to be.
fn no_json<T: Words>(rejection: &JsonRejection) -> Refusal {
    let text = match rejection {
        JsonRejection::MissingJsonContentType(_) => {
            "the body has to be JSON, and to be said to be; send `Content-Type: application/json`"
                .to_owned()
        }
        _ => format!(
            "the body is no JSON: {}; write an object with {}",
            cause(rejection),
            any_of::<T>("and")
        ),
    };
    Refusal::new(rejection.status(), text)
}

/// The first word that cannot be used, and why, of what was said; `serde` is how serde says it.
fn wrong_word<T: Words>(said: &[(String, String)], serde: &str) -> String {
    let known = |word: &str| T::WORDS.iter().any(|(known, _)| *known == word);
    if let Some((word, _)) = said.iter().find(|(word, _)| !known(word)) {
        return unknown_word::<T>(&short(word));
    }
    for (word, how) in T::WORDS {
        if serde.contains(&format!("duplicate field `{word}`")) {
            return format!("`{word}` is there twice; write it once");
        }
        match said.iter().find(|(said, _)| said == word) {
            Some((_, value)) if serde.starts_with(&format!("{word}: ")) => {
                return format!("{word} is {}; write {how}", short(value));
            }
            None if serde.contains(&format!("missing field `{word}`")) => {
                return format!("{word} is missing; write {how}");
            }
            _ => {}
        }
    }
    short(serde)
}

fn unknown_word<T: Words>(word: &str) -> String {
    if T::WORDS.is_empty() {
        return format!("there is no `{word}`; nothing is taken here");
    }
    let meant = did_you_mean(word, T::WORDS.iter().map(|(word, _)| *word));
    format!("there is no `{word}`; write {}{meant}", any_of::<T>("or"))
}

/// All words there are, as a person lists them.
fn any_of<T: Words>(last: &str) -> String {
    let words: Vec<_> = T::WORDS.iter().map(|(word, _)| *word).collect();
    match words.split_last() {
        Some((one, [])) => (*one).to_owned(),
        Some((end, words)) => format!("{} {last} {end}", words.join(", ")),
        None => "nothing".to_owned(),
    }
}

/// What a rejection is about, without axum's words around it.
fn cause(rejection: &dyn Error) -> String {
    rejection.source().map_or_else(|| rejection.to_string(), ToString::to_string)
}

/// As much of it as somebody reads.
fn short(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}\u{2026}", &text[..end]),
        None => text.to_owned(),
    }
}

/// Letters of what was said that are repeated.
const SHOWN: usize = 60;

#[cfg(test)]
mod tests {
    use super::super::{explain, router, sessions};
    use super::*;
    use crate::api::{BackendChange, NewBackend};

    /// The words that serde knows, by what it expects in place of one that there is not.
    fn check<T: Words>() {
        let uri = "/?no-such-word=1".parse().expect("a path with a query");
        let Err(rejection) = Query::<T>::try_from_uri(&uri) else {
            panic!("{} takes any word", std::any::type_name::<T>());
        };
        let serde = cause(&rejection);
        let (_, expected) = serde.split_once("expected").expect("a list of what there is");
        let known: Vec<_> = expected.split('`').skip(1).step_by(2).collect();
        let told: Vec<_> = T::WORDS.iter().map(|(word, _)| *word).collect();
        assert_eq!(told, known, "{}: {serde}", std::any::type_name::<T>());
    }

    #[test]
    fn every_word_that_is_taken_has_its_form() {
        check::<NewBackend>();
        check::<BackendChange>();
        check::<router::Since>();
        check::<sessions::Filter>();
        check::<explain::OfBackend>();
        check::<explain::OfSession>();
        check::<explain::OfClient>();
    }

    #[test]
    fn what_is_wrong_is_short_whatever_was_said() {
        let long = "\u{e4}".repeat(10_000);
        let said = [("weight".to_owned(), long.clone())];
        let text = wrong_word::<BackendChange>(&said, &format!("weight: {long}"));
        assert!(text.chars().count() < 120, "{text}");
        let said = [(long, String::new())];
        let text = wrong_word::<BackendChange>(&said, "");
        assert!(text.chars().count() < 120, "{text}");
    }
}
