//! `rate` and `rate_block`: how many messages the guard lets through.

use std::ops::Range;
use std::time::Duration;

use corex_common::guard::rates::{
    ANY, INVITE, MAX_BURST, MAX_GROUPS, MAX_PER_SECOND, MAX_RATES, OPAQUE, OPTIONS, OTHER,
    REGISTER, REPLY,
};
use corex_script::function::{Parameter, ParameterKind, PartMistake};
use corex_script::settings::{RateBlock, RateRule, RateScope};

pub(super) const RATE: Parameter = Parameter {
    name: "rate",
    aliases: &[],
    kind: ParameterKind::Notation {
        set: |settings, text| {
            let rules = &mut settings.corex.guard.rates;
            rules.extend(parse(text, rules)?);
            Ok(())
        },
    },
    doc: "WHAT: N/TIME [burst N] [drop|route] [dry-run]; …: how many messages the guard lets \
          through. WHAT is `src`, for each source, or `listener`, for each listen socket; behind it \
          the kinds of messages that count, all where none is written: REGISTER, INVITE, OPTIONS, \
          `other` (requests), `reply`, `opaque` (what doesn't begin as SIP does, such as encoded \
          messages). Kinds alone are those of each source. TIME is s, min, h, or a number in front \
          of one: 100/10s. `burst` may come at once, as many as N where it isn't written. \
          `src/24` takes sources of one IPv4 /24 for one, `src/48` those of one IPv6 /48 (numbers \
          above 32), `src/24,48` both; else IPv4 /32 and IPv6 /64. What is above a rate is dropped, or \
          goes to event_route[guard:limit] (`route`), or is counted only (`dry-run`). At most 8 rules \
          with two different prefixes. May be set many times. See guard.md. Default: none.",
};

pub(super) const RATE_BLOCK: Parameter = Parameter {
    name: "rate_block",
    aliases: &[],
    kind: ParameterKind::Notation {
        set: |settings, text| {
            settings.corex.guard.rate_block = Some(parse_block(text)?);
            Ok(())
        },
    },
    doc: "N in TIME for TIME [dry-run], as in \"20 in 60s for 1h\": a source with so many messages above \
          its rates within such a time is blocked for so long, as if by guard.block; never one that \
          is allowed. Rates of listeners and on dry run don't count. Default: nobody is.",
};

/// What a clause is read from: words, and where they are.
struct Words<'t> {
    words: Vec<(&'t str, Range<usize>)>,
    next: usize,
    end: usize,
    help: &'static str,
}

impl<'t> Words<'t> {
    fn new(text: &'t str, at: usize, help: &'static str) -> Self {
        let mut words = Vec::new();
        let mut begin = None;
        for (i, c) in text.char_indices().chain([(text.len(), ' ')]) {
            match (c.is_ascii_whitespace(), begin) {
                (true, Some(from)) => {
                    words.push((text.get(from..i).unwrap_or_default(), at + from..at + i));
                    begin = None;
                }
                (false, None) => begin = Some(i),
                _ => {}
            }
        }
        Self {
            words,
            next: 0,
            end: at + text.trim_end().len(),
            help,
        }
    }

    fn next(&mut self) -> Option<(&'t str, Range<usize>)> {
        let word = self.words.get(self.next).cloned();
        self.next += 1;
        word
    }

    /// The next word, which must be there.
    fn want(&mut self, what: &str) -> Result<(&'t str, Range<usize>), PartMistake> {
        let end = self.end;
        self.next()
            .ok_or_else(|| self.mistake(end..end, format!("{what} is missing")))
    }

    /// The next word, which must be this one.
    fn expect(&mut self, word: &str) -> Result<(), PartMistake> {
        match self.want(&format!("`{word}`"))? {
            (found, _) if found == word => Ok(()),
            (found, at) => Err(self.mistake(at, format!("`{found}` stands where `{word}` must"))),
        }
    }

    fn mistake(&self, part: Range<usize>, what: String) -> PartMistake {
        PartMistake {
            part,
            what,
            help: self.help.to_owned(),
        }
    }
}

const RATE_HELP: &str = "its form is \"WHAT: N/TIME burst N\", as in \"src: 50/s burst 200; REGISTER: \
                         5/s burst 20\"";
const BLOCK_HELP: &str = "its form is \"N in TIME for TIME\", as in \"20 in 60s for 1h\"";

/// The kinds of messages by name.
const NAMES: [(&str, u32); 6] = [
    ("REGISTER", REGISTER),
    ("INVITE", INVITE),
    ("OPTIONS", OPTIONS),
    ("other", OTHER),
    ("reply", REPLY),
    ("opaque", OPAQUE),
];

const SOURCE: RateScope = RateScope::Source {
    prefix_v4: 32,
    prefix_v6: 64,
};

/// Reads rules; `before` are those that are there already.
fn parse(text: &str, before: &[RateRule]) -> Result<Vec<RateRule>, PartMistake> {
    let mut rules: Vec<RateRule> = Vec::new();
    let mut at = 0;
    for clause in text.split(';') {
        let from = at;
        at += clause.len() + 1;
        if clause.trim().is_empty() && from > 0 && at > text.len() {
            // A semicolon at the end.
            break;
        }
        let rule = rule(clause, from)?;
        let lead = clause.len() - clause.trim_start().len();
        let whole = from + lead..from + lead + clause.trim().len();
        let mistake = |what: String| PartMistake {
            part: whole.clone(),
            what,
            help: "leave it out, or put kinds of messages into one rule, as in \"REGISTER INVITE: \
                   10/s\""
                .to_owned(),
        };
        let all = || before.iter().chain(&rules);
        if all().count() >= MAX_RATES {
            return Err(mistake(format!("there are {MAX_RATES} rules already")));
        }
        if all().any(|other| other.name == rule.name) {
            return Err(mistake(format!("there is a rule `{}` already", rule.name)));
        }
        let mut prefixes: Vec<RateScope> = all()
            .map(|rule| rule.scope)
            .chain([rule.scope])
            .filter(|scope| *scope != RateScope::Listener)
            .collect();
        prefixes.dedup();
        prefixes.sort_by_key(|scope| format!("{scope:?}"));
        prefixes.dedup();
        if prefixes.len() > MAX_GROUPS {
            return Err(mistake(format!(
                "sources are divided by {MAX_GROUPS} different prefixes already"
            )));
        }
        rules.push(rule);
    }
    Ok(rules)
}

/// One rule, which begins at `at`.
fn rule(clause: &str, at: usize) -> Result<RateRule, PartMistake> {
    let Some((what, rest)) = clause.split_once(':') else {
        let words = Words::new(clause, at, RATE_HELP);
        let from = at + clause.len() - clause.trim_start().len();
        return Err(words.mistake(
            from..from + clause.trim().len(),
            "it has no colon behind what it is for".to_owned(),
        ));
    };
    let mut words = Words::new(what, at, RATE_HELP);
    let (mut scope, mut methods) = (None, 0);
    let mut names: Vec<&str> = Vec::new();
    while let Some((word, part)) = words.next() {
        let is_first = names.is_empty();
        names.push(word);
        if let Some((_, bit)) = NAMES.iter().find(|(name, _)| *name == word) {
            methods |= 1 << bit;
        } else if is_first && word == "listener" {
            scope = Some(RateScope::Listener);
        } else if is_first && (word == "src" || word.starts_with("src/")) {
            scope = Some(source(word).map_err(|what| words.mistake(part, what))?);
        } else {
            return Err(words.mistake(
                part,
                format!(
                    "`{word}` is none of src, listener, REGISTER, INVITE, OPTIONS, other, reply and \
                     opaque, or stands too late"
                ),
            ));
        }
    }
    if names.is_empty() {
        return Err(words.mistake(
            at..at + what.len(),
            "nothing stands before the colon".to_owned(),
        ));
    }
    let mut words = Words::new(rest, at + what.len() + 1, RATE_HELP);
    let (word, part) = words.want("the rate")?;
    let (count, period) = rate(word).map_err(|what| words.mistake(part, what))?;
    let mut rule = RateRule {
        name: names.join(" "),
        scope: scope.unwrap_or(SOURCE),
        methods: if methods == 0 { ANY } else { methods },
        count,
        period,
        burst: count.min(MAX_BURST),
        is_to_route: false,
        is_dry: false,
    };
    while let Some((word, part)) = words.next() {
        match word {
            "burst" => {
                let (number, part) = words.want("the burst's number")?;
                rule.burst = number
                    .parse()
                    .ok()
                    .filter(|burst| (1..=MAX_BURST).contains(burst))
                    .ok_or_else(|| {
                        words.mistake(
                            part,
                            format!("`{number}` is no number from 1 to {MAX_BURST}"),
                        )
                    })?;
            }
            "drop" => rule.is_to_route = false,
            "route" => rule.is_to_route = true,
            "dry-run" => rule.is_dry = true,
            _ => {
                return Err(words.mistake(
                    part,
                    format!("`{word}` is none of burst, drop, route and dry-run"),
                ));
            }
        }
    }
    Ok(rule)
}

/// `src`, `src/24`, `src/64`, `src/24,48`.
fn source(word: &str) -> Result<RateScope, String> {
    let Some(prefixes) = word.strip_prefix("src/") else {
        return Ok(SOURCE);
    };
    let number = |text: &str, most: u8| {
        let bits = text.parse().ok().filter(|bits| (1..=most).contains(bits));
        bits.ok_or_else(|| format!("`{text}` is no prefix from 1 to {most}"))
    };
    let (prefix_v4, prefix_v6) = match prefixes.split_once(',') {
        Some((v4, v6)) => (number(v4, 32)?, number(v6, 128)?),
        None => match number(prefixes, 128)? {
            v4 @ ..=32 => (v4, 64),
            v6 => (32, v6),
        },
    };
    Ok(RateScope::Source {
        prefix_v4,
        prefix_v6,
    })
}

/// `50/s`, `100/10s`.
fn rate(word: &str) -> Result<(u64, Duration), String> {
    let form = || format!("`{word}` is no rate");
    let (count, time) = word.split_once('/').ok_or_else(form)?;
    let count: u64 = count.parse().map_err(|_| form())?;
    let period = if time.starts_with(|c: char| c.is_ascii_digit()) {
        duration(time)?
    } else {
        duration(&format!("1{time}")).map_err(|_| form())?
    };
    let most = MAX_PER_SECOND.saturating_mul(period.as_secs());
    if !(1..=most).contains(&count) {
        return Err(format!("`{word}` is not from one to {MAX_PER_SECOND}/s"));
    }
    Ok((count, period))
}

/// `60s`, `5min`, `1h`, `1d`: up to a day of them for rates, a year for blocks.
fn duration(word: &str) -> Result<Duration, String> {
    let digits = word.len() - word.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = word.split_at_checked(digits).unwrap_or((word, ""));
    let seconds: u64 = match unit {
        "s" | "" => 1,
        "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(format!("`{word}` is no time: s, min, h and d are known")),
    };
    let number: Option<u64> = number.parse().ok();
    number
        .and_then(|number| number.checked_mul(seconds))
        .filter(|seconds| (1..=MOST_SECONDS).contains(seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| format!("`{word}` is no time from a second to a year"))
}

const MOST_SECONDS: u64 = 366 * 86_400;
/// The longest period of a rate, and the longest time in which offences are counted.
const MOST_WITHIN: Duration = Duration::from_secs(86_400);

/// Reads `rate_block`.
fn parse_block(text: &str) -> Result<RateBlock, PartMistake> {
    let mut words = Words::new(text, 0, BLOCK_HELP);
    let (word, part) = words.want("the number of offences")?;
    let offences = word
        .parse()
        .ok()
        .filter(|offences| (1..=1_000_000).contains(offences))
        .ok_or_else(|| words.mistake(part, format!("`{word}` is no number from 1 to 1000000")))?;
    words.expect("in")?;
    let (word, part) = words.want("the time in which offences count")?;
    let within = duration(word).map_err(|what| words.mistake(part.clone(), what))?;
    if within > MOST_WITHIN {
        return Err(words.mistake(part, format!("`{word}` is more than a day")));
    }
    words.expect("for")?;
    let (word, part) = words.want("the time of the block")?;
    let time = duration(word).map_err(|what| words.mistake(part, what))?;
    let is_dry = match words.next() {
        None => false,
        Some(("dry-run", _)) => true,
        Some((word, part)) => {
            return Err(words.mistake(part, format!("`{word}` has no meaning here")));
        }
    };
    if let Some((word, part)) = words.next() {
        return Err(words.mistake(part, format!("`{word}` has no meaning here")));
    }
    Ok(RateBlock {
        offences,
        within,
        time,
        is_dry,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> RateRule {
        let mut rules = parse(text, &[]).unwrap();
        assert_eq!(rules.len(), 1, "{text}");
        rules.remove(0)
    }

    #[test]
    fn rules_say_what_they_are_for_how_many_and_what_becomes_of_the_rest() {
        let rules = parse("src: 50/s burst 200; REGISTER: 5/s burst 20 route;", &[]).unwrap();
        assert_eq!(rules.len(), 2);
        assert_eq!(
            rules[0],
            RateRule {
                name: "src".to_owned(),
                scope: SOURCE,
                methods: ANY,
                count: 50,
                period: Duration::from_secs(1),
                burst: 200,
                is_to_route: false,
                is_dry: false,
            }
        );
        assert_eq!(rules[1].name, "REGISTER");
        assert_eq!((rules[1].methods, rules[1].scope), (1 << REGISTER, SOURCE));
        assert!(rules[1].is_to_route);
        let rule = one("listener  INVITE OPTIONS : 100/10s dry-run");
        assert_eq!(rule.name, "listener INVITE OPTIONS");
        assert_eq!(
            (rule.scope, rule.methods),
            (RateScope::Listener, 1 << INVITE | 1 << OPTIONS)
        );
        assert_eq!((rule.period, rule.burst), (Duration::from_secs(10), 100));
        assert!(rule.is_dry);
        for (text, v4, v6) in [
            ("src: 1/min", 32, 64),
            ("src/24: 1/min", 24, 64),
            ("src/48: 1/h", 32, 48),
            ("src/24,56 opaque: 1/s", 24, 56),
        ] {
            let expected = RateScope::Source {
                prefix_v4: v4,
                prefix_v6: v6,
            };
            assert_eq!(one(text).scope, expected, "{text}");
        }
    }

    #[test]
    fn a_mistake_is_pointed_to() {
        for (text, at) in [
            ("", ""),
            ("src 50/s", "src 50/s"),
            (": 5/s", ""),
            ("src: ", ""),
            ("src: 50", "50"),
            ("src: 0/s", "0/s"),
            ("src: 50/week", "50/week"),
            ("src: 10000001/s", "10000001/s"),
            ("src: 5/s; regster: 5/s", "regster"),
            ("src: 5/s; INVITE src: 5/s", "src"),
            ("src/0: 5/s", "src/0"),
            ("src/129: 5/s", "src/129"),
            ("src/33,64: 5/s", "src/33,64"),
            ("src: 5/s burst", ""),
            ("src: 5/s burst 0", "0"),
            ("src: 5/s burst 1000001", "1000001"),
            ("src: 5/s, drop", "5/s,"),
            ("src: 5/s  block", "block"),
            ("src: 5/s; src: 6/s", "src: 6/s"),
            ("src: 1/s; src/24: 1/s; src/16: 1/s", "src/16: 1/s"),
            ("src: 5/s;; INVITE: 5/s", ""),
        ] {
            let mistake = parse(text, &[]).unwrap_err();
            assert_eq!(
                text.get(mistake.part.clone()),
                Some(at),
                "{text}: {mistake:?}"
            );
        }
        let eight = "REGISTER: 1/s; INVITE: 1/s; OPTIONS: 1/s; other: 1/s; reply: 1/s; opaque: \
                     1/s; src: 1/s; listener: 1/s";
        let before = parse(eight, &[]).unwrap();
        let mistake = parse("listener INVITE: 1/s", &before).unwrap_err();
        assert!(mistake.what.contains("8 rules"), "{mistake:?}");
    }

    #[test]
    fn a_block_has_a_number_a_time_and_a_time() {
        assert_eq!(
            parse_block("20 in 60s for 1h"),
            Ok(RateBlock {
                offences: 20,
                within: Duration::from_secs(60),
                time: Duration::from_secs(3_600),
                is_dry: false,
            })
        );
        assert!(parse_block("1 in 5min for 2d dry-run").unwrap().is_dry);
        for (text, at) in [
            ("", ""),
            ("x in 60s for 1h", "x"),
            ("0 in 60s for 1h", "0"),
            ("20 within 60s for 1h", "within"),
            ("20 in 60 s for 1h", "s"),
            ("20 in 2d for 1h", "2d"),
            ("20 in 60s for 0s", "0s"),
            ("20 in 60s for 1h please", "please"),
            ("20 in 60s for 1h dry-run dry-run", "dry-run"),
            ("20 in 60s", ""),
        ] {
            let mistake = parse_block(text).unwrap_err();
            assert_eq!(
                text.get(mistake.part.clone()),
                Some(at),
                "{text}: {mistake:?}"
            );
        }
    }
}
