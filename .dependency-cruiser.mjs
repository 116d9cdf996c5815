// What each folder may import: a lint rule, run by `npm run check`. docs/architecture.md says what belongs there.

/** Folders of lib; '.' are the entry points. Whoever is not named here may import everything. */
export const folders = {
  native: [],
  base: ['native'],
  policy: [],
  ownership: ['base', 'native'],
  'tap/limit': ['base', 'native'],
  tap: ['base', 'native', 'tap/limit'],
  nbd: ['base', 'native', 'tap'],
  network: ['base'],
  'network/dns': ['base', 'network'],
  'network/tunnel': ['base', 'native', 'network'],
  'network/redirect': ['base', 'native', 'network', 'network/dns', 'network/tunnel'],
  machine: ['base', 'network'],
  'machine/xen': ['base', 'machine'],
  session: ['base', 'native', 'machine', 'network', 'ownership', 'policy', 'tap'],
  source: ['base', 'native', 'session', 'machine', 'network', 'ownership', 'policy', 'tap'],
  destination: ['base', 'native', 'session', 'machine', 'nbd', 'network', 'ownership', 'tap'],
  control: [
    '.', 'base', 'session', 'source', 'destination', 'machine', 'machine/xen', 'nbd', 'network/redirect', 'ownership',
    'tap'
  ],
  cli: [
    '.', 'base', 'session', 'source', 'control', 'machine', 'nbd', 'network/dns', 'network/redirect', 'ownership',
    'policy', 'tap'
  ]
}

const filesOf = (folder) => folder === '.' ? '[^/]+' : `${folder}/[^/]+`

const boundaries = Object.entries(folders).map(([folder, others]) => ({
  name: `${folder}-imports`,
  severity: 'error',
  from: { path: `^lib/${filesOf(folder)}$` },
  to: { path: '^lib/', pathNot: `^lib/(${[folder, ...others].map(filesOf).join('|')})$` }
}))

export default {
  forbidden: [
    ...boundaries,
    {
      name: 'lib-alone',
      comment: 'what is published needs nothing that is not',
      severity: 'error',
      from: { path: '^lib/' },
      to: { path: '^(test|bench|demo|examples|testbed|scripts)/' }
    },
    {
      name: 'testbed-imports',
      comment: 'what tests, benchmarks and demos share sees the library as a user does; QEMU\'s monitor is spoken, and devices are numbered, in one way',
      severity: 'error',
      from: { path: '^testbed/' },
      to: { path: '^(lib|test|bench|demo|examples)/', pathNot: '^lib/(index|machine/qmp|base/device-number)[.]ts$' }
    },
    {
      name: 'test-imports',
      comment: 'test/bench tests what bench/ is made of',
      severity: 'error',
      from: { path: '^test/', pathNot: '^test/bench/' },
      to: { path: '^(bench|demo|examples)/' }
    },
    { name: 'bench-imports', severity: 'error', from: { path: '^bench/' }, to: { path: '^(test|demo|examples)/' } },
    {
      name: 'demo-imports',
      severity: 'error',
      comment: 'a demo shows what the command line would',
      from: { path: '^demo/' },
      to: { path: '^(lib|test|bench|examples)/', pathNot: '^lib/(index[.]ts$|cli/)' }
    },
    {
      name: 'examples-imports',
      comment: 'as in a program of one\'s own',
      severity: 'error',
      from: { path: '^examples/' },
      to: { path: '^(testbed|test|bench|demo|examples)/' }
    },
    { name: 'no-circle', severity: 'error', from: {}, to: { circular: true } },
    { name: 'in-a-folder', severity: 'error', from: { path: '^lib/', pathNot: `^lib/(${['.', ...Object.keys(folders)].map(filesOf).join('|')})$` }, to: {} },
    {
      name: 'no-orphan',
      comment: 'nobody imports it, and it is no program of its own',
      severity: 'error',
      from: { orphan: true, pathNot: '[.]d[.]ts$' },
      to: {}
    }
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    doNotFollow: { path: 'node_modules' }
  }
}
