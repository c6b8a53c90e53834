//! Mutants: alerts with one mistake each.

use wasmetry_ops::Alert;
use wasmetry_ops::promql::Expr;

/// A kind of mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Comparator,
    Doubled,
    Halved,
    Label,
    Hold,
    Ratio,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] =
        [Self::Comparator, Self::Doubled, Self::Halved, Self::Label, Self::Hold, Self::Ratio];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Comparator => "comparator flipped",
            Self::Doubled => "threshold x 2",
            Self::Halved => "threshold x 1/2",
            Self::Label => "`by` label dropped",
            Self::Hold => "`for` removed",
            Self::Ratio => "ratio swapped",
        }
    }
}

/// An alert with a mistake.
pub(crate) struct Mutant {
    pub(crate) kind: Kind,
    pub(crate) alert: Alert,
}

/// Returns all mutants of an alert, without equivalent ones.
pub(crate) fn of(alert: &Alert) -> Vec<Mutant> {
    let mut mutants: Vec<_> = expressions(&alert.expr)
        .into_iter()
        .map(|(kind, expr)| Mutant { kind, alert: Alert { expr, ..alert.clone() } })
        .collect();
    if alert.hold > 0 {
        mutants.push(Mutant { kind: Kind::Hold, alert: Alert { hold: 0, ..alert.clone() } });
    }
    mutants
}

fn expressions(expr: &Expr) -> Vec<(Kind, Expr)> {
    let mut all = here(expr);
    match expr {
        Expr::Number(_) | Expr::Selector(_) | Expr::Text(_) => {}
        Expr::Call { function, arguments } => {
            for (i, argument) in arguments.iter().enumerate() {
                all.extend(expressions(argument).into_iter().map(|(kind, changed)| {
                    let mut arguments = arguments.clone();
                    arguments[i] = changed;
                    (kind, Expr::Call { function, arguments })
                }));
            }
        }
        Expr::Aggregate { operator, by, of } => {
            let inside = expressions(of).into_iter();
            all.extend(inside.map(|(kind, of)| (kind, Expr::Aggregate { operator, by: by.clone(), of: Box::new(of) })));
        }
        Expr::Binary { operator, on, group_left, left, right } => {
            let with = |left: Box<Expr>, right: Box<Expr>| Expr::Binary {
                operator,
                on: on.clone(),
                group_left: *group_left,
                left,
                right,
            };
            all.extend(expressions(left).into_iter().map(|(kind, left)| (kind, with(Box::new(left), right.clone()))));
            all.extend(expressions(right).into_iter().map(|(kind, right)| (kind, with(left.clone(), Box::new(right)))));
        }
    }
    all
}

/// Returns the mutants that change the outermost operation.
fn here(expr: &Expr) -> Vec<(Kind, Expr)> {
    match expr {
        Expr::Aggregate { operator, by, of } => (0..by.len())
            .map(|i| {
                let mut by = by.clone();
                by.remove(i);
                (Kind::Label, Expr::Aggregate { operator, by, of: of.clone() })
            })
            .collect(),
        Expr::Binary { operator: "/", on, group_left, left, right } => {
            let swapped = Expr::Binary {
                operator: "/",
                on: on.clone(),
                group_left: *group_left,
                left: right.clone(),
                right: left.clone(),
            };
            vec![(Kind::Ratio, swapped)]
        }
        Expr::Binary { operator, left, right, .. } => {
            let (flipped, Expr::Number(threshold)) = (
                match *operator {
                    ">" => "<",
                    "==" => "!=",
                    _ => return Vec::new(),
                },
                &**right,
            ) else {
                return Vec::new();
            };
            let with = |threshold: f64| left.as_ref().clone().op(operator, Expr::Number(threshold));
            let mut all = vec![(Kind::Comparator, left.as_ref().clone().op(flipped, Expr::Number(*threshold)))];
            if *threshold != 0.0 {
                all.extend([(Kind::Doubled, with(threshold * 2.0)), (Kind::Halved, with(threshold * 0.5))]);
            }
            all
        }
        _ => Vec::new(),
    }
}
