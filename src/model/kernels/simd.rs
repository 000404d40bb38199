//! Plain loops, compiled once for each width of vector that processors have, chosen when they run. The loops fix the
//! order of every sum themselves (sixteen lanes, then a tree), so each version gives the same bits.

/// Lanes of partial sums in a reduction.
pub const LANES: usize = 16;

/// Declares a function whose body is compiled for AVX-512, for AVX2 and for any processor.
macro_rules! simd {
    ($(#[$doc:meta])* $vis:vis fn $name:ident $(<$T:ident: $bound:path>)? ($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name $(<$T: $bound>)? ($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn portable $(<$T: $bound>)? ($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx512 $(<$T: $bound>)? ($($arg: $ty),*) $(-> $ret)? { portable($($arg),*) }
                #[target_feature(enable = "avx2,fma")]
                #[allow(clippy::too_many_arguments)]
                fn avx2 $(<$T: $bound>)? ($($arg: $ty),*) $(-> $ret)? { portable($($arg),*) }
                use std::arch::is_x86_feature_detected as has;
                if has!("avx512f") && has!("avx512bw") && has!("avx512vl") && has!("avx512dq") && has!("fma") {
                    // SAFETY: the processor has just said that it has every feature that this version is compiled for.
                    return unsafe { avx512($($arg),*) };
                }
                if has!("avx2") && has!("fma") {
                    // SAFETY: as above.
                    return unsafe { avx2($($arg),*) };
                }
            }
            portable($($arg),*)
        }
    };
}
pub(super) use simd;

/// Σ aᵢ bᵢ in f32, in sixteen lanes and a fixed order.
#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (a_wide, a_rest) = a.as_chunks::<LANES>();
    let (b_wide, b_rest) = b.as_chunks::<LANES>();
    for (x, y) in a_wide.iter().zip(b_wide) {
        for lane in 0..LANES {
            lanes[lane] = x[lane].mul_add(y[lane], lanes[lane]);
        }
    }
    for (lane, (x, y)) in a_rest.iter().zip(b_rest).enumerate() {
        lanes[lane] = x.mul_add(*y, lanes[lane]);
    }
    tree_sum(lanes)
}

/// The sum of the lanes, pairwise.
#[inline(always)]
pub fn tree_sum(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// The largest element; −∞ of none.
#[inline(always)]
pub fn max(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (wide, rest) = values.as_chunks::<LANES>();
    for x in wide {
        for lane in 0..LANES {
            lanes[lane] = if x[lane] > lanes[lane] { x[lane] } else { lanes[lane] };
        }
    }
    rest.iter()
        .chain(&lanes)
        .fold(f32::NEG_INFINITY, |best, &x| if x > best { x } else { best })
}

/// Σ f(xᵢ), writing each f(xᵢ) back, in the order of [`dot`].
#[inline(always)]
pub fn map_sum(values: &mut [f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (wide, rest) = values.as_chunks_mut::<LANES>();
    for x in wide {
        for lane in 0..LANES {
            x[lane] = f(x[lane]);
            lanes[lane] += x[lane];
        }
    }
    for (lane, x) in rest.iter_mut().enumerate() {
        *x = f(*x);
        lanes[lane] += *x;
    }
    tree_sum(lanes)
}

/// eˣ to about one unit in the last place, without a call, so that loops over it become vector code and give the
/// same bits on every machine (Cephes' expf: argument reduction by ln 2 in two parts, then a polynomial).
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.3, 88.7);
    let n = (x * std::f32::consts::LOG2_E).round_ties_even();
    let r = n.mul_add(-0.693_359_4, x);
    let r = n.mul_add(2.121_944_4e-4, r);
    let mut p = 1.987_569_1e-4_f32;
    p = p.mul_add(r, 1.398_199_9e-3);
    p = p.mul_add(r, 8.333_452e-3);
    p = p.mul_add(r, 4.166_579_6e-2);
    p = p.mul_add(r, 1.666_666_5e-1);
    p = p.mul_add(r, 0.5);
    let y = p.mul_add(r * r, r) + 1.0;
    // 2ⁿ in two steps, because n = 128 has no single-precision power of its own.
    let n = n as i32;
    let half = n >> 1;
    y * f32::from_bits(((half + 127) as u32) << 23) * f32::from_bits(((n - half + 127) as u32) << 23)
}

/// tanh x to about one unit in the last place (Cephes' tanhf: a polynomial near 0, by the exponential elsewhere).
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let z = x * x;
    let mut p = -5.704_988_7e-3_f32;
    p = p.mul_add(z, 2.063_909e-2);
    p = p.mul_add(z, -5.373_971_6e-2);
    p = p.mul_add(z, 1.333_144_2e-1);
    p = p.mul_add(z, -3.333_328e-1);
    let near = (p * z).mul_add(x, x);
    let far = 1.0 - 2.0 / (exp(2.0 * x.abs()) + 1.0);
    if x.abs() < 0.625 { near } else { far.copysign(x) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tanh_is_the_hyperbolic_tangent() {
        for step in -30_000..=30_000 {
            let x = step as f32 / 1500.0;
            let (found, expected) = (f64::from(tanh(x)), f64::from(x).tanh());
            assert!(
                (found - expected).abs() <= 2e-7 * expected.abs(),
                "tanh({x}) = {found}, expected {expected}"
            );
        }
        assert_eq!((tanh(1e30), tanh(-1e30)), (1.0, -1.0));
    }

    #[test]
    fn exp_is_the_exponential() {
        for step in -8700..=8860 {
            let x = step as f32 / 100.0;
            let (found, expected) = (f64::from(exp(x)), f64::from(x).exp());
            assert!(
                (found / expected - 1.0).abs() < 3e-7,
                "exp({x}) = {found}, expected {expected}"
            );
        }
        assert!(exp(-1e30) < 1.3e-38);
    }

    #[test]
    fn dot_and_max_see_every_element() {
        let a: Vec<f32> = (0..53).map(|i| i as f32).collect();
        let b = vec![2.0; 53];
        assert_eq!(dot(&a, &b), 2.0 * (52.0 * 53.0 / 2.0));
        assert_eq!(max(&a), 52.0);
        assert_eq!(max(&[]), f32::NEG_INFINITY);
    }

    simd! {
        fn dispatched(a: &[f32], b: &[f32]) -> f32 { dot(a, b) }
    }

    /// The versions for wide vectors against the portable one: the same bits.
    #[test]
    fn every_width_gives_the_same_bits() {
        #[cfg(target_arch = "x86_64")]
        if !std::arch::is_x86_feature_detected!("avx512f") {
            crate::skip::skip(crate::skip::Missing::Processor, "this processor has no AVX-512");
        }
        let normals = crate::seed::Seed::new(1).normals(2 * 1001);
        let (a, b): (Vec<f32>, Vec<f32>) = normals.chunks(2).map(|pair| (pair[0] as f32, pair[1] as f32)).unzip();
        for len in [0, 1, 15, 16, 17, 64, 577, 1001] {
            assert_eq!(
                dispatched(&a[..len], &b[..len]).to_bits(),
                dot(&a[..len], &b[..len]).to_bits()
            );
        }
    }
}
