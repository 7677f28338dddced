#include "dlink_fixed.h"
#include "dlink_kernels.h"

/* gemmlowp's fixed point: Qm numbers have m integer bits, 31 - m fractional bits and a sign. */
enum {
    DIFFERENCE_INTEGER_BITS = 5,
    DIFFERENCE_FRACTION_BITS = 31 - DIFFERENCE_INTEGER_BITS,
    SUM_INTEGER_BITS = 12,
    OUTPUT_BITS = 8
};

/* exp(a) for a in [-1/4, 0), Q0: Taylor series around -1/8. */
static int32_t exp_near_zero(int32_t a)
{
    const int32_t exp_of_minus_eighth = 1895147668;
    const int32_t third = 715827883;
    const int32_t x = a + ((int32_t)1 << 28);
    const int32_t x2 = dlink_doubling_high_mul(x, x);
    const int32_t x3 = dlink_doubling_high_mul(x2, x);
    const int32_t x4 = dlink_doubling_high_mul(x2, x2);
    const int32_t x4_by_4 = dlink_rounding_shift_right(x4, 2);
    const int32_t series =
        dlink_rounding_shift_right(dlink_doubling_high_mul(x4_by_4 + x3, third) + x2, 1);
    return exp_of_minus_eighth + dlink_doubling_high_mul(exp_of_minus_eighth, x + series);
}

/* exp(a) for a <= 0 in Q5, result in Q0: the rest modulo 1/4, then a factor for each binary digit
 * 2^-2 .. 2^4 of what was taken off. */
static int32_t exp_of_negative(int32_t a)
{
    static const int32_t factors[7] = {1672461947, 1302514674, 790015084, 290630308,
                                       39332535,   720401,     242};
    const int32_t quarter = (int32_t)1 << (DIFFERENCE_FRACTION_BITS - 2);
    const int32_t rest = (a & (quarter - 1)) - quarter;
    const int32_t taken = rest - a;
    int32_t result = exp_near_zero(dlink_shift_left(rest, DIFFERENCE_INTEGER_BITS));
    if (a == 0) {
        return INT32_MAX;
    }
    for (int32_t i = 0; i < 7; i++) {
        if (taken & dlink_shift_left(quarter, i)) {
            result = dlink_doubling_high_mul(result, factors[i]);
        }
    }
    return result;
}

/* 1 / (1 + a) for a in [0, 1), Q0: three Newton steps in Q2. */
static int32_t one_over_one_plus(int32_t a)
{
    const int32_t forty_eight_over_17 = 1515870810;
    const int32_t minus_thirty_two_over_17 = -1010580540;
    const int32_t one = (int32_t)1 << 29;
    const int32_t half = (int32_t)(((int64_t)a + INT32_MAX + 1) / 2); /* (1 + a) / 2, rounded */
    int32_t x = forty_eight_over_17 + dlink_doubling_high_mul(half, minus_thirty_two_over_17);
    for (int32_t i = 0; i < 3; i++) {
        const int32_t error = one - dlink_doubling_high_mul(half, x);
        x += dlink_shift_left(dlink_doubling_high_mul(x, error), 2);
    }
    return x >= ((int32_t)1 << 30) ? INT32_MAX : dlink_shift_left(x, 1);
}

static int32_t exp_of_difference(const dlink_softmax_t *layer, int32_t difference)
{
    return exp_of_negative(dlink_doubling_high_mul(
        dlink_shift_left(difference, layer->left_shift), layer->multiplier));
}

static void row(const dlink_softmax_t *layer, const int8_t *input, int8_t *output)
{
    int32_t most = INT8_MIN;
    uint32_t sum = 0;
    int32_t headroom = 0;
    int32_t scale;
    int32_t exponent;
    for (int32_t i = 0; i < layer->depth; i++) {
        most = input[i] > most ? input[i] : most;
    }
    for (int32_t i = 0; i < layer->depth; i++) {
        if (input[i] - most >= layer->lowest_difference) {
            sum += (uint32_t)dlink_rounding_shift_right(exp_of_difference(layer, input[i] - most),
                                                        SUM_INTEGER_BITS);
        }
    }
    while (!(sum & 0x80000000u)) { /* ends: the largest input alone adds 2^19 */
        sum <<= 1;
        headroom++;
    }
    scale = one_over_one_plus((int32_t)(sum - 0x80000000u));
    exponent = SUM_INTEGER_BITS - headroom + 31 - OUTPUT_BITS;
    for (int32_t i = 0; i < layer->depth; i++) {
        int32_t value = 0;
        if (input[i] - most >= layer->lowest_difference) {
            value = dlink_rounding_shift_right(
                dlink_doubling_high_mul(scale, exp_of_difference(layer, input[i] - most)),
                exponent);
        }
        output[i] = dlink_clamp(value + INT8_MIN, INT8_MIN, INT8_MAX);
    }
}

void dlink_softmax(const dlink_softmax_t *layer, const int8_t *input, int8_t *output)
{
    for (int32_t i = 0; i < layer->rows; i++) {
        row(layer, input, output);
        input += layer->depth;
        output += layer->depth;
    }
}
