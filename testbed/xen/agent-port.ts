/** Where dom0's agent listens, in dom0. */
export const kAgentPort = 5555
