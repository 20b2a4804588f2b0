//! The examples of `docs/filter.md` are tests.

use super::super::*;
use super::fault;

const REFERENCE: &str = include_str!("../../../docs/filter.md");

/// The cells of a row of a Markdown table, in which `\|` is a bar.
fn cells(row: &str) -> Vec<String> {
    let row = row.replace("\\|", "\u{0}");
    let inner = row.trim().trim_start_matches('|').trim_end_matches('|');
    inner.split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect()
}

#[test]
fn every_example_gives_its_result() {
    let (_, table) = REFERENCE.split_once("| filter | metadata | result |\n|---|---|---|\n").unwrap();
    let rows: Vec<_> = table.lines().take_while(|line| line.starts_with('|')).map(cells).collect();
    assert!(rows.len() > 100, "only {} examples", rows.len());
    for row in rows {
        let [filter, metadata, wanted] = &row[..] else { panic!("{row:?}") };
        let (filter, metadata) = (filter.trim_matches('`'), metadata.trim_matches('`'));
        let candidate = Candidate { id: "doc_1", text: Some("The quick brown fox"), metadata };
        let found = match Filter::from_json(filter) {
            Ok(filter) => filter.matches(&candidate).unwrap().to_string(),
            Err(error) => format!("error at {}: {}", fault(&error).1, fault(&error).2),
        };
        assert_eq!(found, *wanted, "{filter} on {metadata}");
    }
}

#[test]
fn the_missing_field_table_is_true() {
    let (_, section) = REFERENCE.split_once("## Missing fields").unwrap();
    let rows =
        |first: &str| cells(section.lines().find(|line| line.starts_with(&format!("| {first} |"))).unwrap());
    let operands = |v: &str| {
        [
            vec![format!("{{\"$eq\":{v}}}")],
            vec![format!("{{\"$ne\":{v}}}"), format!("{{\"$neq\":{v}}}")],
            ["$gt", "$gte", "$lt", "$lte"].map(|name| format!("{{\"{name}\":{v}}}")).to_vec(),
            vec![format!("{{\"$in\":[{v}]}}")],
            vec![format!("{{\"$nin\":[{v}]}}")],
            vec!["{\"$exists\":true}".into()],
            vec!["{\"$exists\":false}".into()],
            vec![
                format!("{{\"$contains\":{v}}}"),
                format!("{{\"$all\":[{v}]}}"),
                "{\"$prefix\":\"\"}".into(),
                "{\"$regex\":\"\"}".into(),
            ],
            vec![format!("{{\"$not_contains\":{v}}}")],
            vec!["{\"$not\":{\"$gt\":0}}".into()],
        ]
    };
    for (name, operand, metadata) in [
        ("missing", "1", "{}"),
        ("missing, null among the operands", "null", "{}"),
        ("null", "1", "{\"f\":null}"),
    ] {
        let row = rows(name);
        assert_eq!(row.len(), 11, "{row:?}");
        for (wanted, filters) in row[1..].iter().zip(operands(operand)) {
            for filter in filters.iter().filter(|_| !wanted.is_empty()) {
                let filter = Filter::from_json(&format!("{{\"f\":{filter}}}")).unwrap();
                assert_eq!(super::holds(&filter, metadata).to_string(), *wanted, "{filter} on {metadata}");
            }
        }
    }
}

#[test]
fn the_grammar_names_every_operator() {
    let (_, grammar) = REFERENCE.split_once("```ebnf").unwrap();
    let (grammar, _) = grammar.split_once("```").unwrap();
    for name in super::super::parse::names() {
        assert!(grammar.contains(&format!("\"{name}\"")), "{name}");
    }
}
