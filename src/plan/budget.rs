//! What a budget of numbers is spent on: the slots of which a number leads furthest away from the start ([`super::units`]). Blind to the reward: it
//! finds what can steer the model, not what steers it well.

use super::units::Cost;

/// The costliest slots first, of equals the first, as long as the budget lasts: whether each is chosen, in the order of the slots.
pub fn choose(costs: &[Cost], budget: usize) -> Vec<bool> {
    let mut order: Vec<usize> = (0..costs.len()).collect();
    order.sort_by(|&a, &b| costs[b].kl_per_number.total_cmp(&costs[a].kl_per_number));
    let mut left = budget;
    let mut chosen = vec![false; costs.len()];
    for at in order {
        if let Some(rest) = left.checked_sub(costs[at].numbers) {
            (left, chosen[at]) = (rest, true);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_goes_to_the_costliest_slots() {
        let slots =
            [("a", 4, 0.1), ("b", 4, 0.9), ("c", 2, 0.1), ("d", 4, 0.5)].map(|(slot, numbers, kl_per_number)| Cost {
                slot: slot.into(),
                numbers,
                step: 1.0,
                kl: 0.0,
                kl_per_number,
            });
        let chosen = |budget: usize| -> String {
            let chosen = choose(&slots, budget);
            let names = slots.iter().zip(chosen).filter(|(_, is)| *is);
            names.map(|(cost, _)| cost.slot.as_str()).collect()
        };
        assert_eq!(
            ["", "c", "b", "bc", "bd", "bcd", "abd", "abcd"],
            [1, 2, 4, 6, 8, 10, 12, 14].map(chosen).each_ref().map(String::as_str)
        );
    }
}
