//! The addresses of accounts, where they are not the account's own name: changed ones and aliases.

use std::{collections::BTreeMap, sync::Arc};

use crate::ids::UserId;

/// Addresses by account, and accounts by address. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub(crate) struct Addresses(Arc<Tables>);

#[derive(Debug, Clone, Default)]
struct Tables {
    shown: BTreeMap<UserId, String>,
    accounts: BTreeMap<String, UserId>,
}

impl Addresses {
    /// Returns the address that an account's permissions show.
    pub(crate) fn shown(&self, user: &UserId) -> String {
        let changed = self.0.shown.get(user).cloned();
        changed.unwrap_or_else(|| user.email())
    }

    /// Returns the account with this address.
    pub(crate) fn account(&self, user: UserId) -> UserId {
        let address = user.email().to_lowercase();
        self.0.accounts.get(&address).cloned().unwrap_or(user)
    }

    /// Changes the address that an account's permissions show, and adds aliases that lead to it.
    pub(crate) fn set(&mut self, user: &UserId, address: Option<String>, aliases: Vec<String>) {
        let tables = Arc::make_mut(&mut self.0);
        for address in aliases.iter().chain(&address) {
            tables.accounts.insert(address.to_lowercase(), user.clone());
        }
        if let Some(address) = address {
            tables.shown.insert(user.clone(), address);
        }
    }
}
