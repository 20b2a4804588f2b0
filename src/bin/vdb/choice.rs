//! The flags that choose documents: `--filter` and `--where`.

use serde_json::value::RawValue;
use vdb::Filter;

use crate::failure::{Failure, Result};
use crate::given;

/// The operators of `--where`; of two that begin alike the longer is first.
const OPERATORS: [(&str, &str); 6] =
    [("!=", "$ne"), (">=", "$gte"), ("<=", "$lte"), ("=", "$eq"), (">", "$gt"), ("<", "$lt")];

/// Which documents.
#[derive(Debug, clap::Args)]
pub(crate) struct Choice {
    /// Only documents that match this filter, in JSON or from `@FILE`
    #[arg(long, value_name = "JSON")]
    filter: Option<String>,
    /// Only documents with KEY OP VALUE, such as `year>=2020`; OP is one of = != > >= < <=; may be repeated
    #[arg(long = "where", value_name = "CONDITION")]
    conditions: Vec<String>,
}

impl Choice {
    /// Whether anything was given.
    pub(crate) fn is_given(&self) -> bool {
        self.filter.is_some() || !self.conditions.is_empty()
    }

    /// All that was given, as one filter.
    pub(crate) fn filter(&self) -> Result<Option<Filter>> {
        let mut filters = Vec::new();
        if let Some(json) = &self.filter {
            filters.push(Filter::from_json(&given::text(json)?)?);
        }
        for condition in &self.conditions {
            filters.push(Filter::from_json(&json(condition)?)?);
        }
        let all = filters.into_iter().reduce(|all, filter| all & filter);
        if let Some(filter) = &all {
            filter.check()?;
        }
        Ok(all)
    }
}

/// A condition as a filter in JSON.
fn json(condition: &str) -> Result<String> {
    let fault = |reason: &str| Failure::Usage {
        message: format!("the condition {condition:?} is not valid: {reason}"),
        hint: Some("write KEY OP VALUE as one word, such as --where source=doc_1".into()),
    };
    let at = condition.find(['!', '>', '<', '=']).ok_or_else(|| fault("it has no operator"))?;
    let (key, rest) = condition.split_at(at);
    let (sign, operator) = OPERATORS
        .into_iter()
        .find(|(sign, _)| rest.starts_with(sign))
        .ok_or_else(|| fault("the operators are = != > >= < <="))?;
    let (key, value) = (key.trim(), rest[sign.len()..].trim());
    if key.is_empty() {
        return Err(fault("it has no key"));
    }
    if value.starts_with(['=', '<', '>']) {
        return Err(fault("the operators are = != > >= < <=; a value that begins so goes into \"\""));
    }
    let value = match serde_json::from_str::<&RawValue>(value) {
        Ok(token) => token.get().to_owned(),
        Err(_) => quote(value),
    };
    Ok(format!("{{{}: {{\"{operator}\": {value}}}}}", quote(key)))
}

fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_filters() {
        for (condition, filter) in [
            ("source=doc_1", r#"{"source": {"$eq": "doc_1"}}"#),
            ("year>=2020", r#"{"year": {"$gte": 2020}}"#),
            ("year<2020", r#"{"year": {"$lt": 2020}}"#),
            (" a.b != \"x=y\" ", r#"{"a.b": {"$ne": "x=y"}}"#),
            ("day<=2020-01-02", r#"{"day": {"$lte": "2020-01-02"}}"#),
            ("code=007", r#"{"code": {"$eq": "007"}}"#),
            ("big=12345678901234567890.50", r#"{"big": {"$eq": 12345678901234567890.50}}"#),
            ("x=", r#"{"x": {"$eq": ""}}"#),
            ("$id=2", r#"{"$id": {"$eq": 2}}"#),
            ("a=null", r#"{"a": {"$eq": null}}"#),
            ("url=http://x/?a=b", r#"{"url": {"$eq": "http://x/?a=b"}}"#),
        ] {
            assert_eq!(json(condition).unwrap(), filter);
        }
        for condition in ["x", "", "=1", "a==1", "a=>1", "a<>1", "a!1"] {
            assert!(matches!(json(condition), Err(Failure::Usage { .. })), "{condition}");
        }
    }
}
