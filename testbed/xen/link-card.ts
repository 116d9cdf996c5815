/** Shell for a dom0: `$card` is its card on the link to the other host. */
export const findCard = 'card=$(basename $(dirname $(grep -l ^52:54:00:01: /sys/class/net/*/address)))'
