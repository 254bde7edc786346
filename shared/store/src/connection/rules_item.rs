//! A connection's rules in the form that its item stores: one text for each, its kind before a
//! colon.

use domain::{FileId, Glob, MimePattern, Rule, Rules};
use serde::{Deserialize, Serialize};

use crate::file::value_item::ItemDefect;

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct RulesItem {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    include: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    exclude: Vec<String>,
}

impl RulesItem {
    pub(crate) fn of(rules: &Rules) -> Option<Self> {
        let all = |rules: &[Rule]| rules.iter().map(text).collect();
        (!rules.is_empty()).then(|| Self {
            include: all(&rules.include),
            exclude: all(&rules.exclude),
        })
    }

    pub(crate) fn into_rules(self) -> Result<Rules, ItemDefect> {
        let all = |texts: Vec<String>| -> Result<Vec<Rule>, ItemDefect> {
            texts.iter().map(|text| rule(text)).collect()
        };
        Ok(Rules {
            include: all(self.include)?,
            exclude: all(self.exclude)?,
        })
    }
}

fn text(rule: &Rule) -> String {
    match rule {
        Rule::Folder(id) => format!("folder:{id}"),
        Rule::MimeType(pattern) => format!("mime:{}", pattern.as_str()),
        Rule::Name(glob) => format!("name:{}", glob.as_str()),
    }
}

fn rule(text: &str) -> Result<Rule, ItemDefect> {
    let rule = match text.split_once(':') {
        Some(("folder", id)) => FileId::parse(id).ok().map(Rule::Folder),
        Some(("mime", pattern)) => MimePattern::parse(pattern).ok().map(Rule::MimeType),
        Some(("name", glob)) => Glob::parse(glob).ok().map(Rule::Name),
        Some(_) | None => None,
    };
    rule.ok_or("one of its rules is invalid")
}
