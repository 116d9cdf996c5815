{
  "targets": [
    {
      "target_name": "blockferry",
      "dependencies": ["<!(node -p \"require('node-addon-api').targets\"):node_addon_api_except_all"],
      "sources": [
        "native/addon.cc",
        "<!@(node -p \"['native/core', 'native/node'].flatMap(f => require('fs').readdirSync(f, {recursive: true}).map(n => f + '/' + n)).filter(n => n.endsWith('.cc') && !n.endsWith('_main.cc')).sort().join(' ')\")"
      ],
      "defines": ["NAPI_VERSION=9", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"],
      "cflags_cc": ["-std=c++20", "-O2", "-Wall", "-Wextra"],
      "cflags_cc!": ["-std=gnu++17", "-std=gnu++20"],
      "libraries": ["<!@(pkg-config --libs libxxhash libzstd)"],
      "include_dirs": ["native/core"],
      "conditions": [
        ["'<!(pkg-config --exists liburing && echo yes || echo no)' == 'yes'", {
          "defines": ["BLOCKFERRY_HAVE_LIBURING"],
          "libraries": ["<!@(pkg-config --libs liburing)"]
        }],
        ["'<!(pkg-config --exists gnutls && echo yes || echo no)' == 'yes'", {
          "defines": ["BLOCKFERRY_HAVE_GNUTLS"],
          "libraries": ["<!@(pkg-config --libs gnutls)"]
        }],
        ["'<!(node scripts/build-bpf.mjs)' == 'yes'", {
          "defines": ["BLOCKFERRY_HAVE_BPF"],
          "include_dirs": ["native/build/bpf"],
          "libraries": ["<!@(pkg-config --libs libbpf)"]
        }],
        ["'<!(pkg-config --exists devmapper && echo yes || echo no)' == 'yes'", {
          "dependencies": ["blockferry-watchdog"],
          "defines": ["BLOCKFERRY_HAVE_DM"],
          "libraries": ["<!@(pkg-config --libs devmapper)"]
        }]
      ]
    }
  ],
  "conditions": [
    ["'<!(pkg-config --exists devmapper && echo yes || echo no)' == 'yes'", {
      "targets": [
        {
          "target_name": "blockferry-watchdog",
          "type": "executable",
          "sources": [
            "native/core/tap/dm/watchdog_main.cc",
            "native/core/tap/dm/watchdog.cc",
            "native/core/tap/dm/delay.cc",
            "native/core/tap/dm/device.cc",
            "native/core/base/status.cc"
          ],
          "defines": ["BLOCKFERRY_HAVE_DM"],
          "include_dirs": ["native/core"],
          "cflags_cc": ["-std=c++20", "-O2", "-Wall", "-Wextra"],
          "cflags_cc!": ["-std=gnu++17", "-std=gnu++20"],
          "libraries": ["<!@(pkg-config --libs devmapper)"]
        }
      ]
    }]
  ]
}
