import { BlockferryError } from '../base/errors.js'

/** Arguments that make no sense: exit code 2. */
export class UsageError extends BlockferryError {
  constructor (message: string) {
    super('INVALID', message)
  }
}
