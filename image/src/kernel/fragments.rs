//! Whether a kernel's configuration is what was asked for. Kconfig drops without a word what it does not know and what
//! lacks a dependency.

use std::collections::BTreeMap;

/// The settings of a fragment or a configuration, by symbol; `None` for `# CONFIG_X is not set`. Of two lines for one
/// symbol the last counts.
pub fn settings(text: &str) -> BTreeMap<&str, Option<&str>> {
    text.lines()
        .filter_map(|line| {
            let line = line.trim();
            let unset = line.strip_prefix("# ").and_then(|rest| rest.strip_suffix(" is not set"));
            match unset {
                Some(symbol) if symbol.starts_with("CONFIG_") => Some((symbol, None)),
                _ if line.starts_with("CONFIG_") => {
                    let (symbol, value) = line.split_once('=')?;
                    Some((symbol, Some(value)))
                }
                _ => None,
            }
        })
        .collect()
}

/// What `fragment` asks for and `config` does not have: a line each. A symbol that is not there at all is not set.
pub fn lost(fragment: &str, config: &str) -> Vec<String> {
    let have = settings(config);
    settings(fragment)
        .into_iter()
        .filter(|(symbol, wanted)| have.get(symbol).copied().flatten() != *wanted)
        .map(|(symbol, wanted)| match wanted {
            Some(value) => format!("{symbol}={value}"),
            None => format!("# {symbol} is not set"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_kconfig_dropped_or_changed_is_told() {
        let config = "# Linux/x86 6.12 Kernel Configuration\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=\"x y\"\nCONFIG_D=m\n";
        let cases = [
            ("CONFIG_A=y\n# CONFIG_B is not set\n# CONFIG_GONE is not set\nCONFIG_C=\"x y\"\n", ""),
            ("CONFIG_B=y\n", "CONFIG_B=y"),
            ("CONFIG_GONE=y\n", "CONFIG_GONE=y"),
            ("CONFIG_D=y\n", "CONFIG_D=y"),
            ("# CONFIG_A is not set\n", "# CONFIG_A is not set"),
            ("CONFIG_D=y\nCONFIG_D=m\n# a comment\n", ""),
        ];
        for (fragment, expected) in cases {
            assert_eq!(lost(fragment, config).join("\n"), expected, "{fragment}");
        }
    }
}
