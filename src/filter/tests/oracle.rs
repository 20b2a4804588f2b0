//! A second, naive evaluator, written from the specification over `serde_json` trees, filter and document alike.

use std::cmp::Ordering;

use serde_json::Value;

/// A document for the oracle.
pub(super) struct Subject<'a> {
    pub(super) id: &'a str,
    pub(super) text: Option<&'a str>,
    pub(super) metadata: &'a Value,
}

/// Whether `document` satisfies the well-formed `filter`.
pub(super) fn holds(filter: &Value, document: &Subject<'_>) -> bool {
    let all = |value: &Value| value.as_array().unwrap().iter().all(|filter| holds(filter, document));
    let any = |value: &Value| value.as_array().unwrap().iter().any(|filter| holds(filter, document));
    filter.as_object().unwrap().iter().all(|(key, value)| match key.as_str() {
        "$and" => all(value),
        "$or" => any(value),
        "$nor" => !any(value),
        "$not" => !holds(value, document),
        name => condition(&values(name, document), value),
    })
}

fn values(name: &str, document: &Subject<'_>) -> Vec<Value> {
    match name {
        "$id" => vec![document.id.into()],
        "$text" => document.text.map(Value::from).into_iter().collect(),
        name if document.metadata.get(name).is_some() => vec![document.metadata[name].clone()],
        name => {
            let mut level = vec![document.metadata.clone()];
            for step in name.split('.') {
                let mut next = Vec::new();
                for value in level {
                    let objects = match value {
                        Value::Array(elements) => elements.into_iter().filter(Value::is_object).collect(),
                        other => vec![other],
                    };
                    next.extend(objects.iter().filter_map(|object| object.get(step)).cloned());
                }
                level = next;
            }
            level
        }
    }
}

fn condition(values: &[Value], condition: &Value) -> bool {
    match condition {
        Value::Object(members) if !members.contains_key("$date") => members.iter().all(|(name, operand)| {
            let options = members.get("$options");
            operator(values, name, operand, options.is_some_and(|options| options == "i"))
        }),
        Value::Array(_) => operator(values, "$in", condition, false),
        _ => operator(values, "$eq", condition, false),
    }
}

fn operator(values: &[Value], name: &str, operand: &Value, ignore_case: bool) -> bool {
    let scalars: Vec<&Value> = values
        .iter()
        .flat_map(|value| match value {
            Value::Array(elements) => elements.iter().collect(),
            other => vec![other],
        })
        .filter(|value| !value.is_array() && !value.is_object())
        .collect();
    let equal = |operand: &Value| {
        operand.is_null() && values.is_empty()
            || scalars.iter().any(|value| compare(value, operand) == Some(Ordering::Equal))
    };
    let range = |orders: &[Ordering]| {
        scalars.iter().any(|value| compare(value, operand).is_some_and(|order| orders.contains(&order)))
    };
    let strings = || scalars.iter().filter_map(|value| value.as_str());
    let list = || operand.as_array().unwrap().iter();
    match name {
        "$eq" => equal(operand),
        "$ne" | "$neq" => !equal(operand),
        "$gt" => range(&[Ordering::Greater]),
        "$gte" => range(&[Ordering::Greater, Ordering::Equal]),
        "$lt" => range(&[Ordering::Less]),
        "$lte" => range(&[Ordering::Less, Ordering::Equal]),
        "$in" => list().any(equal),
        "$nin" => !list().any(equal),
        "$exists" => operand.as_bool().unwrap() != values.is_empty(),
        "$contains" => contains(values, operand),
        "$not_contains" => !contains(values, operand),
        "$all" => !values.is_empty() && list().all(equal),
        "$prefix" => strings().any(|text| text.starts_with(operand.as_str().unwrap())),
        "$regex" => {
            let flags = if ignore_case { "(?i)" } else { "" };
            let regex = regex::Regex::new(&format!("{flags}{}", operand.as_str().unwrap())).unwrap();
            strings().any(|text| regex.is_match(text))
        }
        "$options" => true,
        "$not" => !condition(values, operand),
        other => panic!("{other}"),
    }
}

fn contains(values: &[Value], operand: &Value) -> bool {
    values.iter().any(|value| match value {
        Value::Array(elements) => {
            elements.iter().any(|element| compare(element, operand) == Some(Ordering::Equal))
        }
        Value::String(text) => operand.as_str().is_some_and(|part| text.contains(part)),
        _ => false,
    })
}

/// How `value` compares to `operand`, if they can be compared.
fn compare(value: &Value, operand: &Value) -> Option<Ordering> {
    match (value, operand) {
        (Value::Null, Value::Null) => Some(Ordering::Equal),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => a.as_f64()?.partial_cmp(&b.as_f64()?),
        (Value::String(a), Value::String(b)) => Some(a.chars().cmp(b.chars())),
        (Value::String(a), Value::Object(date)) => Some(instant(a)?.cmp(&instant(date["$date"].as_str()?)?)),
        _ => None,
    }
}

/// The instants of the few dates that the random tests use.
fn instant(text: &str) -> Option<jiff::Timestamp> {
    match text {
        "2026-11-23" => "2026-11-23T00:00:00Z".parse().ok(),
        "2026-11-23T00:00:00Z" | "2026-11-23T04:00:00+09:00" | "2026-11-22T19:00:00.5Z" => text.parse().ok(),
        _ => None,
    }
}
