//! A connection's rules as callers write and see them.

use domain::{FileId, Glob, InvalidRule, MimePattern, RULES_MAX, Rule, Rules};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::{Kind, Problem};

/// What of its Drive a connection shows: what some `include` rule matches, if there is any, and no
/// `exclude` rule does. Without rules: everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = Rules)]
pub(crate) struct RulesBody {
    /// At least one must match, where there are any.
    include: Vec<RuleBody>,
    /// None may match.
    exclude: Vec<RuleBody>,
}

/// One rule. Up to 100 in all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Rule)]
pub(crate) enum RuleBody {
    /// A folder's id: it and everything below it. One that we don't know (yet) matches nothing.
    Folder(String),
    /// A MIME type, or the beginning of some (`image/*`): items of that type. Case does not count.
    MimeType(String),
    /// A pattern for names: items of such a name, and everything below a folder of such a name. `*` is
    /// any number of characters, `?` is one, a backslash takes the meaning from the next; case does not
    /// count.
    Name(String),
}

impl From<&Rules> for RulesBody {
    fn from(rules: &Rules) -> Self {
        Self {
            include: rules.include.iter().map(RuleBody::from).collect(),
            exclude: rules.exclude.iter().map(RuleBody::from).collect(),
        }
    }
}

impl From<&Rule> for RuleBody {
    fn from(rule: &Rule) -> Self {
        match rule {
            Rule::Folder(id) => Self::Folder(id.to_string()),
            Rule::MimeType(pattern) => Self::MimeType(pattern.as_str().to_owned()),
            Rule::Name(glob) => Self::Name(glob.as_str().to_owned()),
        }
    }
}

impl RulesBody {
    /// The rules, if each is one and there are not too many.
    pub(crate) fn checked(&self) -> Result<Rules, Problem> {
        if self.include.len() + self.exclude.len() > RULES_MAX {
            let detail = format!("at most {RULES_MAX} rules are possible");
            return Err(Problem::new(Kind::ValueNotAllowed, detail).at("/rules"));
        }
        let list = |rules: &[RuleBody], name: &str| -> Result<Vec<Rule>, Problem> {
            let each = |(number, rule): (usize, &RuleBody)| {
                let (member, read) = rule.read();
                read.map_err(|why| {
                    let pointer = format!("/rules/{name}/{number}/{member}");
                    Problem::new(Kind::ValueNotAllowed, format!("{member} {why}")).at(pointer)
                })
            };
            rules.iter().enumerate().map(each).collect()
        };
        Ok(Rules {
            include: list(&self.include, "include")?,
            exclude: list(&self.exclude, "exclude")?,
        })
    }
}

impl RuleBody {
    fn read(&self) -> (&'static str, Result<Rule, String>) {
        let why = |why: InvalidRule| why.to_string();
        match self {
            Self::Folder(id) => {
                let id = FileId::parse(id).map_err(|why| format!("is {why}"));
                ("folder", id.map(Rule::Folder))
            }
            Self::MimeType(text) => {
                let pattern = MimePattern::parse(text).map_err(why);
                ("mime_type", pattern.map(Rule::MimeType))
            }
            Self::Name(text) => ("name", Glob::parse(text).map_err(why).map(Rule::Name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::typed;
    use serde_json::{Value as Json, json};

    fn read(json: Json) -> Result<Rules, String> {
        let body = typed::<RulesBody>(json, "/rules");
        body.and_then(|body| body.checked()).map_err(|problem| {
            assert_eq!(problem.status(), 422);
            problem.body().pointer().unwrap().to_owned()
        })
    }

    #[test]
    fn rules_are_read_and_shown_alike() {
        let json = json!({
            "include": [{"folder": "1abc"}, {"mime_type": "image/*"}],
            "exclude": [{"name": "*.tmp"}],
        });
        let rules = read(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(RulesBody::from(&rules)).unwrap(), json);
        assert_eq!(read(json!({})), Ok(Rules::default()));
    }

    #[test]
    fn what_is_wrong_in_rules_is_pointed_at() {
        for (json, pointer) in [
            (
                json!({"include": [{"name": "a\\"}]}),
                "/rules/include/0/name",
            ),
            (
                json!({"exclude": [{"name": "a"}, {"name": ""}]}),
                "/rules/exclude/1/name",
            ),
            (
                json!({"include": [{"mime_type": "image"}]}),
                "/rules/include/0/mime_type",
            ),
            (
                json!({"include": [{"folder": "a/b"}]}),
                "/rules/include/0/folder",
            ),
            (
                json!({"include": vec![json!({"name": "a"}); 101]}),
                "/rules",
            ),
            (json!({"only": []}), "/rules/only"),
        ] {
            assert_eq!(read(json.clone()), Err(pointer.to_owned()), "{json}");
        }
        assert!(read(json!({"include": [{"colour": "red"}]})).is_err());
        assert!(read(json!({"include": {"name": "a"}})).is_err());
    }
}
