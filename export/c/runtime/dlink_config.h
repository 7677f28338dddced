/* What this model needs of the kernels. Generation replaces it; here everything is wanted. */
#ifndef DLINK_CONFIG_H
#define DLINK_CONFIG_H

#define DLINK_HAS_LONG_FORM 1     /* requantisation other than dlink_requant_t's form 2 */
#define DLINK_HAS_LIMBS 1         /* packed: sums that two multiplications do not scale exactly */
#define DLINK_HAS_ADD_BY_SCALES 1 /* additions that are not one line */

#endif
