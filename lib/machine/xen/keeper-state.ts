// Words between a keeper and those who ask it for something, a line each.

/**
 * At the source: `moving` → `handed-over` → `moved` or `undone`. At the destination: `moving` →
 * `arrived` → `running` or `undone`. `broken`: it has come to nothing, and xl has cleaned up;
 * `lost`: xl is gone, and with it what could be done about a machine that was handed over.
 */
export type KeeperState =
  'moving' | 'handed-over' | 'moved' | 'undone' | 'arrived' | 'running' | 'broken' | 'lost'

/** `go`: let it run here. `moved`: it runs at the destination, remove it here. `undo`: it goes on at
 * the source. */
export type KeeperCommand = 'go' | 'moved' | 'undo'

/** Nothing comes after these. */
export function isFinal (state: KeeperState): boolean {
  return ['moved', 'undone', 'running', 'broken', 'lost'].includes(state)
}
