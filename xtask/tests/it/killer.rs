//! Kills xtask with SIGKILL at a chosen call of docker, git, `eb` or `aws`: before it, within it,
//! after it.
//!
//! What runs is the real program, in the process that xtask started, so that the kernel ends it as
//! it would in life. Only calls that change something are counted; what merely asks runs at once.

use std::fs;
use std::process::Command;

use crate::dsl::Project;
use crate::ward::Ward;

/// The program that stands first on the PATH. `plan` says what becomes of which call; `log` has a
/// line for each.
const SCRIPT: &str = r#"
real=$1 place=$2; shift 2
line="${real##*/} $*"
images='^docker (buildx bake|image (import|pull|push|rm|save|tag)|container (create|export|rm|run))'
stacks='^docker compose .* (up|down) '
commits='^git (-.* )?(clone|checkout|hash-object|read-tree|update-index|write-tree|commit-tree'
commits+='|update-ref|tag|push)( |$)'
uploads='^eb (create|appversion|deploy|abort)'
settings='^aws .*elasticbeanstalk ((create|update|delete)[a-z-]*)'
if [[ $line =~ $uploads ]]; then kind=${BASH_REMATCH[0]}
elif [[ $line =~ $settings ]]; then kind="aws ${BASH_REMATCH[1]}"
elif [[ $line =~ $images ]]; then kind=${BASH_REMATCH[0]}
elif [[ $line =~ $stacks ]]; then kind="docker compose ${BASH_REMATCH[1]}"
elif [[ $line =~ $commits ]]; then kind="git ${BASH_REMATCH[2]}"
fi
read -r parent < "/proc/$PPID/comm"
if [[ -z $kind || $parent != xtask ]]; then exec "$real" "$@"; fi
mapfile -t before < "$place/log"
printf '%s\n' "$kind" >> "$place/log"
read -r how seconds call < "$place/plan"
case $call in
every | "$kind" | "${#before[@]}") ;;
*)
    # Who was meant to die within an earlier call and was too quick does so before anything else.
    earlier=$'\n'$(printf '%s\n' "${before[@]}")$'\n'
    if [[ $earlier == *$'\n'"$call"$'\n'* || $call =~ ^[0-9]+$ && $call -lt ${#before[@]} ]]; then
        while kill -0 $PPID; do read -rt 0.05 -u 9 9<> "$place/never"; done 2> /dev/null
        exit 1
    fi
    exec "$real" "$@" ;;
esac
case $how in
measure)
    start=${EPOCHREALTIME/./}
    "$real" "$@"
    code=$?
    printf '%s\n' "$((${EPOCHREALTIME/./} - start))" >> "$place/times"
    exit $code ;;
before) kill -KILL $PPID ;;
after)
    "$real" "$@"
    kill -KILL $PPID ;;
inside | both)
    [[ $how == both ]] && victims="$PPID $$" || victims=$PPID
    # Nobody ever writes into this pipe: the wait is as long as it says.
    { read -rt "$seconds" -u 9 9<> "$place/never"; kill -KILL $victims; } > /dev/null 2>&1 &
    exec "$real" "$@" ;;
esac
"#;

/// Which instant of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// It was never made.
    Before,
    /// At this part of the time it takes, in percent; the kernel asks the child to end too.
    Inside(u32),
    /// In its middle, and the child dies with us, as when the power fails.
    Both,
    /// It has done its work, and nobody was told.
    After,
}

pub(crate) const ALL: [When; 6] =
    [When::Before, When::Inside(10), When::Inside(50), When::Inside(90), When::Both, When::After];

/// A call that changes something, of an undisturbed run.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Such as `docker image tag`.
    pub(crate) kind: String,
    microseconds: u32,
}

impl Call {
    /// One whose time does not matter.
    pub(crate) fn of_kind(kind: &str) -> Call {
        Call { kind: kind.into(), microseconds: 0 }
    }
}

/// The fakes of one project.
pub(crate) struct Killer {
    place: std::path::PathBuf,
}

impl Killer {
    pub(crate) fn beside(project: &mut Project) -> Killer {
        let place = project.path("fake");
        project.file("fake/killer", SCRIPT);
        let shown = place.display();
        for program in ["docker", "git"] {
            project.fake(program, &format!("exec bash '{shown}/killer' $real '{shown}' \"$@\""));
        }
        Killer::at(place)
    }

    /// Beside the clients of Elastic Beanstalk too, which are not where the other programs are.
    pub(crate) fn at_ward(ward: &mut Ward) -> Killer {
        let killer = Killer::beside(&mut ward.shop.project);
        let place = killer.place.display();
        ward.fake_clients(&format!("exec bash '{place}/killer' 'REAL' '{place}' \"$@\""));
        ward.find_clients();
        killer
    }

    fn at(place: std::path::PathBuf) -> Killer {
        assert!(Command::new("mkfifo").arg(place.join("never")).status().unwrap().success());
        let killer = Killer { place };
        killer.plan("none 0 none");
        killer
    }

    /// What a run without a kill calls.
    pub(crate) fn measure(&self, run: impl FnOnce()) -> Vec<Call> {
        self.plan("measure 0 every");
        run();
        let times = fs::read_to_string(self.place.join("times")).unwrap();
        fs::remove_file(self.place.join("times")).unwrap();
        let kinds = self.calls();
        assert_eq!(times.lines().count(), kinds.len());
        let times = times.lines().map(|line| line.parse().unwrap());
        let calls = kinds.into_iter().zip(times);
        calls.map(|(kind, microseconds)| Call { kind, microseconds }).collect()
    }

    /// The next run dies at the call with this number.
    pub(crate) fn aim(&self, number: usize, call: &Call, when: When) {
        self.plan(&format!("{} {number}", how(call, when)));
    }

    /// The next run dies at the first call of this kind.
    pub(crate) fn aim_at_kind(&self, call: &Call, when: When) {
        self.plan(&format!("{} {}", how(call, when), call.kind));
    }

    /// Nothing is killed any more: the calls that were made since the last plan.
    pub(crate) fn rest(&self) -> Vec<String> {
        let calls = self.calls();
        self.plan("none 0 none");
        calls
    }

    fn plan(&self, text: &str) {
        fs::write(self.place.join("log"), "").unwrap();
        fs::write(self.place.join("plan"), format!("{text}\n")).unwrap();
    }

    fn calls(&self) -> Vec<String> {
        let log = fs::read_to_string(self.place.join("log")).unwrap();
        log.lines().map(str::to_owned).collect()
    }
}

/// The words of the plan.
fn how(call: &Call, when: When) -> String {
    let seconds = |percent| f64::from(call.microseconds) / 1e6 * f64::from(percent) / 100.0;
    match when {
        When::Before => "before 0".into(),
        When::Inside(percent) => format!("inside {:.6}", seconds(percent)),
        When::Both => format!("both {:.6}", seconds(50)),
        When::After => "after 0".into(),
    }
}
