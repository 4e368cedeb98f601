//! How evenly something is shared out.

/// Jain's index of fairness: 1 if all shares are equal, 1/n if one of n has everything (R. Jain, D. Chiu,
/// W. Hawe, DEC Research Report TR-301, 1984). `None` if there is nothing to share or nobody to share it.
///
/// ```
/// use lvs_sim::capture::jain;
/// assert_eq!(jain([3.0, 3.0, 3.0]), Some(1.0));
/// assert_eq!(jain([9.0, 0.0, 0.0]), Some(1.0 / 3.0));
/// assert_eq!(jain([0.0, 0.0]), None);
/// ```
pub fn jain(shares: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (mut count, mut sum, mut squares) = (0_u32, 0.0, 0.0);
    for share in shares {
        count += 1;
        sum += share;
        squares += share * share;
    }
    (squares > 0.0).then(|| sum * sum / (f64::from(count) * squares))
}
