//! Splits an amount into parts, exact to the minor unit: the parts add up to the amount.

use stagedoor_model::breakage;

/// Splits `amount` in proportion to `weights`, by the largest remainder; into equal parts if no weight is above zero.
/// Weights below zero count as zero. The parts add up to `amount`, unless `weights` is empty.
pub(crate) fn split(amount: i64, weights: &[i64]) -> Vec<i64> {
    let equal = weights.iter().all(|weight| *weight <= 0);
    let weights: Vec<i128> =
        weights.iter().map(|weight| if equal { 1 } else { i128::from((*weight).max(0)) }).collect();
    let whole: i128 = weights.iter().sum::<i128>().max(1);
    let exact: Vec<(i128, i128)> = weights
        .iter()
        .map(|weight| i128::from(amount) * weight)
        .map(|part| (part.div_euclid(whole), part.rem_euclid(whole)))
        .collect();
    let mut parts: Vec<i64> = exact.iter().map(|(part, _)| i64::try_from(*part).unwrap_or(0)).collect();
    let mut by_remainder: Vec<(usize, i128)> = exact.iter().map(|(_, rest)| *rest).enumerate().collect();
    by_remainder.sort_by_key(|(index, rest)| (-rest, *index));
    let given: i64 = parts.iter().sum();
    let left = usize::try_from(amount - given).unwrap_or(0);
    if breakage::is_on("refund-remainder-dropped") {
        return parts;
    }
    for (index, _) in by_remainder.into_iter().take(left) {
        if let Some(part) = parts.get_mut(index) {
            *part += 1;
        }
    }
    parts
}

/// Takes `amount` from what is left in each part, in proportion to `weights`. What one part cannot give, the others
/// give, so that none falls below zero. Returns what was taken from each. The sum is `amount`, or all that was left.
pub(crate) fn take(left: &mut [i64], amount: i64, weights: &[i64]) -> Vec<i64> {
    let mut taken = vec![0_i64; left.len()];
    let mut rest = amount.max(0).min(left.iter().sum());
    let mut weights = weights.to_vec();
    while rest > 0 {
        let before = rest;
        for (index, wanted) in split(rest, &weights).into_iter().enumerate() {
            if let (Some(left), Some(taken)) = (left.get_mut(index), taken.get_mut(index)) {
                let part = wanted.clamp(0, (*left).max(0));
                (*left, *taken, rest) = (*left - part, *taken + part, rest - part);
            }
        }
        if rest == before && weights == left {
            break;
        }
        weights = left.to_vec();
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_to_the_kopeck() {
        assert_eq!(split(10_000, &[1, 1, 1]), [3_334, 3_333, 3_333]);
        assert_eq!(split(10_000, &[0, 0]), [5_000, 5_000]);
        assert_eq!(split(7, &[2, 0, 5]), [2, 0, 5]);
        assert_eq!(split(-10_001, &[1, 1]), [-5_000, -5_001]);
        assert_eq!(split(5, &[]), [0; 0]);
    }

    #[test]
    fn what_one_part_cannot_give_the_others_give() {
        let mut left = [100, 1_000];
        assert_eq!(take(&mut left, 600, &[1, 1]), [100, 500]);
        assert_eq!(left, [0, 500]);
        assert_eq!(take(&mut left, 900, &[1, 0]), [0, 500]);
        assert_eq!(left, [0, 0]);
    }
}
