//! Commands of one mode as a tree of words, searched with IOS's abbreviations.

use super::Command;
use crate::ios::words::{Word, shortens};

#[derive(Debug)]
pub struct Trie {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    children: Vec<(&'static str, usize)>,
    command: Option<Command>,
}

/// What the words of a line are in a mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A command, and how many words name it.
    Command { command: Command, used: usize },
    /// The word at this position may be one of several.
    Ambiguous { word: usize, of: Vec<&'static str> },
    /// The word at this position is none of those known there.
    Unknown { word: usize, known: Vec<&'static str> },
}

impl Trie {
    #[must_use]
    pub fn new(table: &[(&'static str, Command)]) -> Self {
        let mut trie = Self { nodes: vec![Node::default()] };
        for (words, command) in table {
            let mut at = 0;
            for word in words.split(' ') {
                at = trie.child(at, word);
            }
            trie.nodes[at].command = Some(*command);
        }
        trie
    }

    fn child(&mut self, at: usize, word: &'static str) -> usize {
        if let Some((_, next)) = self.nodes[at].children.iter().find(|(w, _)| *w == word) {
            return *next;
        }
        self.nodes.push(Node::default());
        let next = self.nodes.len() - 1;
        self.nodes[at].children.push((word, next));
        next
    }

    #[must_use]
    pub fn find(&self, words: &[Word<'_>]) -> Found {
        self.find_from(0, 0, None, words)
    }

    /// Goes on from a node, with so many words behind.
    fn find_from(
        &self,
        at: usize,
        behind: usize,
        mut best: Option<(Command, usize)>,
        words: &[Word<'_>],
    ) -> Found {
        let mut node = &self.nodes[at];
        for (i, word) in words.iter().enumerate().skip(behind) {
            if let Some(command) = node.command {
                best = Some((command, i));
            }
            let mut of: Vec<_> = node.children.iter().filter(|(w, _)| shortens(word.text, w)).collect();
            if let Some(exact) = of.iter().find(|(w, _)| w.len() == word.text.len()) {
                of = vec![exact];
            }
            match (of.as_slice(), best) {
                ([one], _) => node = &self.nodes[one.1],
                // What follows may tell which is meant.
                ([_, _, ..], _) if i + 1 < words.len() => {
                    let found = of.iter().map(|(_, next)| self.find_from(*next, i + 1, None, words));
                    let mut found: Vec<_> = found
                        .filter_map(|f| match f {
                            Found::Command { command, used } => Some((used, command)),
                            _ => None,
                        })
                        .collect();
                    found.sort_by_key(|(used, _)| std::cmp::Reverse(*used));
                    match (found.as_slice(), best) {
                        ([(used, command)], _) => return Found::Command { command: *command, used: *used },
                        ([(used, command), (less, _), ..], _) if used > less => {
                            return Found::Command { command: *command, used: *used };
                        }
                        // What is ignored in any case need not be told apart.
                        (all, Some((command, used)))
                            if all.iter().all(|(_, c)| matches!(c, Command::Ignore { .. })) =>
                        {
                            return Found::Command { command, used };
                        }
                        _ => return Found::Ambiguous { word: i, of: of.iter().map(|(w, _)| *w).collect() },
                    }
                }
                (_, Some((command, used))) => return Found::Command { command, used },
                ([], None) => {
                    return Found::Unknown {
                        word: i,
                        known: node.children.iter().map(|(w, _)| *w).collect(),
                    };
                }
                (several, None) => {
                    return Found::Ambiguous { word: i, of: several.iter().map(|(w, _)| *w).collect() };
                }
            }
        }
        match (node.command, best) {
            (Some(command), _) => Found::Command { command, used: words.len() },
            (None, Some((command, used))) => Found::Command { command, used },
            (None, None) => {
                Found::Unknown { word: words.len(), known: node.children.iter().map(|(w, _)| *w).collect() }
            }
        }
    }

    /// Words with which a command of this mode begins.
    pub fn first_words(&self) -> impl Iterator<Item = &'static str> {
        self.nodes[0].children.iter().map(|(w, _)| *w)
    }
}
