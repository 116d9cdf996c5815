/** Where state is kept that outlives a process, but not the host's boot. */
export const kRuntimeFolder = '/run/blockferry'
