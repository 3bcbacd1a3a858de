//! The workflow documents that the journeys run. `ows_schema` checks all of them against the
//! official schema of the language.

/// Defines documents, and `ALL` of them by name.
macro_rules! documents {
    ($($(#[$doc:meta])* $name:ident = $tasks:literal;)*) => {
        $($(#[$doc])* pub(crate) const $name: &str = $tasks;)*
        /// Every document of the journeys.
        pub(crate) const ALL: &[(&str, &str)] = &[$((stringify!($name), $name)),*];
    };
}

documents! {
    /// Gives its input back, in one turn.
    ECHO = r"
document: {dsl: 1.0.3, namespace: tests, name: echo, version: 1.0.0, title: Echo}
do:
  - answer:
      set:
        echoed: ${ . }
";
    /// Sleeps for a day.
    SLEEPER = r"
document: {dsl: 1.0.3, namespace: tests, name: sleeper, version: 1.0.0}
do:
  - sleep:
      wait: {days: 1}
";
    /// Raises an error that nothing catches.
    FAULTY = r"
document: {dsl: 1.0.3, namespace: tests, name: faulty, version: 1.0.0}
do:
  - complain:
      raise:
        error:
          type: https://example.com/errors/refused
          status: 418
          title: No tea here
";
    /// Several tasks, a branch, a pause and two turns.
    MIXED = r"
document: {dsl: 1.0.3, namespace: tests, name: mixed, version: 1.0.0}
do:
  - first:
      set:
        number: ${ .number + 1 }
      export:
        as: '{first: .number}'
  - choose:
      switch:
        - even:
            when: .number % 2 == 0
            then: pause
        - odd:
            then: skip
  - pause:
      wait: {milliseconds: 30}
      then: both
  - skip:
      set:
        number: ${ .number }
      then: both
  - both:
      fork:
        branches:
          - left:
              set:
                left: ${ .number }
          - right:
              for:
                each: one
                in: '[1, 2, 3]'
              do:
                - add:
                    set:
                      sum: '${ (.sum // 0) + $one }'
  - announce:
      emit:
        event:
          with:
            source: https://example.com/tests
            type: com.example.announced
            data:
              first: ${ $context.first }
      output:
        as: '{first: $context.first, branches: $input}'
";
    /// Calls another system, which may take its time.
    CALLER = r"
document: {dsl: 1.0.3, namespace: tests, name: caller, version: 1.0.0}
do:
  - ask:
      call: http
      with:
        method: post
        endpoint: ${ .url }
        body:
          number: ${ .number }
";
    /// Calls a system that is unavailable now and then.
    RETRIER = r"
document: {dsl: 1.0.3, namespace: tests, name: retrier, version: 1.0.0}
do:
  - insist:
      try:
        - ask:
            call: http
            with:
              method: post
              endpoint: ${ .url }
              body: {wanted: true}
      catch:
        errors:
          with:
            type: https://open-workflow-specification.org/spec/1.0.0/errors/communication
            status: 503
        retry:
          delay: {milliseconds: 10}
          backoff:
            exponential: {}
          limit:
            attempt: {count: 4}
        do:
          - comfort:
              set:
                gave_up: true
";
    /// A long row of effects, for being killed in the middle.
    LOAD = r#"
document: {dsl: 1.0.3, namespace: tests, name: load, version: 1.0.0}
do:
  - remember:
      set:
        url: ${ .url }
        number: ${ .number }
      export:
        as: .
  - one:
      call: http
      with:
        method: post
        endpoint: '${ $context.url + "/one" }'
        body:
          number: ${ $context.number }
  - pause:
      wait: {milliseconds: 50}
  - both:
      fork:
        branches:
          - two:
              call: http
              with:
                method: post
                endpoint: '${ $context.url + "/two" }'
                body:
                  number: ${ $context.number }
          - three:
              call: http
              with:
                method: post
                endpoint: '${ $context.url + "/three" }'
                body:
                  number: ${ $context.number }
  - done:
      set:
        number: ${ $context.number }
"#;
    /// Runs `tests/echo` and goes on with what came of it.
    PARENT = r"
document: {dsl: 1.0.3, namespace: tests, name: parent, version: 1.0.0}
do:
  - delegate:
      run:
        workflow:
          namespace: tests
          name: echo
          version: 1.0.0
          input:
            from: parent
            number: ${ .number }
  - report:
      set:
        child: ${ . }
";
    /// Runs `tests/sleeper` and waits for it.
    PATIENT = r"
document: {dsl: 1.0.3, namespace: tests, name: patient, version: 1.0.0}
do:
  - delegate:
      run:
        workflow:
          namespace: tests
          name: sleeper
          version: 1.0.0
";
    /// Asks an agent.
    ASKING = r"
document: {dsl: 1.0.3, namespace: tests, name: asking, version: 1.0.0}
do:
  - ask:
      call: agent
      with:
        agent: sorter
        input:
          post: ${ .post }
  - keep:
      set:
        answer: ${ . }
";
    /// Writes to somebody.
    TELLING = r"
document: {dsl: 1.0.3, namespace: tests, name: telling, version: 1.0.0}
do:
  - tell:
      call: notify
      with:
        channel: email
        to: ${ .to }
        template: greeting
        data:
          name: ${ .name }
";
    /// Calls an operation of an integration.
    OPERATING = r"
document: {dsl: 1.0.3, namespace: tests, name: operating, version: 1.0.0}
do:
  - label:
      call: integration
      with:
        integration: tracker
        operation: label
        parameters:
          item: ${ .item }
          labels: ${ .labels }
";
    /// Is started by deliveries.
    HOOKED = r"
document: {dsl: 1.0.3, namespace: tests, name: hooked, version: 1.0.0}
do:
  - read:
      set:
        event: ${ .event }
        delivery: ${ .delivery }
        action: ${ .body.action }
";
}

/// A document with another version.
pub(crate) fn versioned(document: &str, version: &str) -> String {
    document.replacen("version: 1.0.0", &format!("version: {version}"), 1)
}
