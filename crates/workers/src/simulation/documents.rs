//! What is run. Every call has its own path, and tells the number of the execution it belongs to.

/// A workflow, and what may be expected of its end.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) name: &'static str,
    /// Whether its end depends on who comes first, so that two runs may differ.
    pub(super) is_race: bool,
    pub(super) text: &'static str,
}

/// A call of `$path` that is tried again for as long as the other side is to blame. Whatever cannot
/// be helped becomes data.
macro_rules! insist {
    ($name:literal, $indent:literal) => {
        concat!(
            $indent,
            "- ",
            $name,
            ":\n",
            $indent,
            "    try:\n",
            $indent,
            "      - ask:\n",
            $indent,
            "          call: http\n",
            $indent,
            "          with: {method: post, endpoint: 'https://outside.test/",
            $name,
            "', body: {n: '${ .n }', lap: '${ .lap // 0 }'}}\n",
            $indent,
            "          output: {as: '$input + {",
            $name,
            ": .}'}\n",
            $indent,
            "    catch:\n",
            $indent,
            "      retry:\n",
            $indent,
            "        when: $error.status >= 500\n",
            $indent,
            "        delay: {seconds: 1}\n",
            $indent,
            "        backoff: {exponential: {}}\n",
            $indent,
            "        limit: {attempt: {count: 6}}\n",
            $indent,
            "      do:\n",
            $indent,
            "        - note: {set: '${ . + {",
            $name,
            ": $error.status} }'}\n",
        )
    };
}

macro_rules! head {
    ($name:literal) => {
        concat!(
            "document: {dsl: 1.0.3, namespace: simulation, name: ",
            $name,
            ", version: 1.0.0}\ndo:\n"
        )
    };
}

/// What executions are started of.
pub(super) const TOP: &[Document] = &[
    Document {
        name: "row",
        is_race: false,
        text: concat!(
            head!("row"),
            insist!("one", "  "),
            "  - pause: {wait: {seconds: 2}}\n",
            insist!("two", "  "),
        ),
    },
    Document {
        name: "all",
        is_race: false,
        text: concat!(
            head!("all"),
            "  - both:
      fork:
        branches:
          - left:
              do:
",
            insist!("left", "                "),
            "                - pause: {wait: {seconds: 1}}
          - right:
              do:
",
            insist!("right", "                "),
            "  - done: {set: {both: '${ . }'}}\n",
        ),
    },
    Document {
        name: "first",
        is_race: true,
        text: concat!(
            head!("first"),
            "  - whoever:
      fork:
        compete: true
        branches:
          - asks:
              do:
",
            insist!("asks", "                "),
            "          - waits: {wait: {seconds: 3}}
  - done: {set: {first: '${ . }'}}
",
        ),
    },
    Document {
        name: "rounds",
        is_race: false,
        text: concat!(
            head!("rounds"),
            "  - each:
      for: {each: one, in: '[1, 2]'}
      do:
        - begin: {set: '${ . + {lap: $one} }'}
",
            insist!("round", "        "),
            "        - pause: {wait: {milliseconds: 500}}\n",
        ),
    },
    Document {
        name: "limited",
        is_race: true,
        text: concat!(
            head!("limited"),
            "  - insist:
      try:
        - ask:
            call: http
            with: {method: post, endpoint: 'https://outside.test/limited', body: {n: '${ .n }'}}
            timeout: {after: {seconds: 2}}
      catch:
        retry: {delay: {seconds: 1}, limit: {attempt: {count: 3}}}
        do:
          - late: {set: {late: true}}
",
        ),
    },
    Document {
        name: "together",
        is_race: true,
        text: concat!(
            head!("together"),
            "  - insist:
      try:
        - both:
            fork:
              branches:
                - this: {call: http, with: {method: post, endpoint: 'https://outside.test/this', body: {n: '${ .n }'}}}
                - that: {call: http, with: {method: post, endpoint: 'https://outside.test/that', body: {n: '${ .n }'}}}
      catch:
        retry: {delay: {seconds: 1}, limit: {attempt: {count: 4}}}
        do:
          - gave_up: {set: {together: $error.status}}
",
        ),
    },
    Document {
        name: "raising",
        is_race: false,
        text: concat!(
            head!("raising"),
            "  - careful:
      try:
        - ask:
            call: http
            with: {method: post, endpoint: 'https://outside.test/plain/raising', body: {n: '${ .n }'}}
      catch:
        errors: {with: {status: 422}}
        do:
          - complain:
              raise: {error: {type: 'https://outside.test/refused', status: 418, title: Refused}}
  - done: {set: {answer: '${ . }'}}
",
        ),
    },
    Document {
        name: "parent",
        is_race: false,
        text: concat!(
            head!("parent"),
            "  - delegate:
      try:
        - run:
            run: {workflow: {namespace: simulation, name: child, version: 1.0.0, input: {n: '${ .n }'}}}
      catch:
        retry: {delay: {seconds: 1}, limit: {attempt: {count: 4}}}
        do:
          - note: {set: {child: '${ $error.status }'}}
  - done: {set: {parent: '${ . }'}}
",
        ),
    },
    Document {
        name: "impatient",
        is_race: true,
        text: concat!(
            head!("impatient"),
            "  - delegate:
      try:
        - run:
            run: {workflow: {namespace: simulation, name: sleeper, version: 1.0.0, input: {n: '${ .n }'}}}
            timeout: {after: {seconds: 2}}
      catch:
        retry: {delay: {seconds: 1}, limit: {attempt: {count: 3}}}
        do:
          - note: {set: {child: '${ $error.status }'}}
",
        ),
    },
    Document {
        name: "detached",
        is_race: false,
        text: concat!(
            head!("detached"),
            "  - begin:
      run: {workflow: {namespace: simulation, name: child, version: 1.0.0, input: {n: '${ .n }'}}, await: false}
  - done: {set: {detached: true}}
",
        ),
    },
];

/// What is started by those.
pub(super) const BELOW: &[Document] = &[
    Document {
        name: "child",
        is_race: false,
        text: concat!(
            head!("child"),
            "  - pause: {wait: {seconds: 1}}
  - ask:
      call: http
      with: {method: post, endpoint: 'https://outside.test/plain/child', body: {n: '${ .n }'}}
",
        ),
    },
    Document {
        name: "sleeper",
        is_race: true,
        text: concat!(
            head!("sleeper"),
            "  - pause: {wait: {seconds: 2}}
  - ask:
      call: http
      with: {method: post, endpoint: 'https://outside.test/plain/sleeper', body: {n: '${ .n }'}}
  - rest: {wait: {hours: 1}}
",
        ),
    },
];
