/* Active mode as a game: a server that lies against clients that follow the rules, as in game.py,
   from which this is written anew; specs/15-active-proof.md §2 has the claims and what is left out.

   Signatures, hashes and sealed boxes are perfect. One process is the server and the network: it
   shows any machine any set at any time, or never. A message that a client refuses ends the client,
   which the server has as well by showing it nothing more, and a repeated one gets the reply that is
   known: neither is a step. Every step is one atomic sequence, so that what is stored is what
   game.py calls a state, and both count the same number of them.

   N clients, of whom the last A are corrupt; T threshold; SHORT less than the quorum of the plan;
   REACH: neighbours are that far away in a ring, N/2 for everybody; ROUND 0: no consistency round;
   LOCAL 1: the quorum is of one's own holders; FORGETS: bitmap of who loses once that it signed and
   answered; TWIN 1: client 0 runs twice, with one input; CLAIMS 0: an input may be masked twice.
   A search of a part of the game, which can find what breaks a variant and proves nothing: WHOLE 1:
   U1 is all clients, session 0; U2S, U3S: which sets `shown` may be shown as U2 and U3. */

#ifndef N
#define N 3
#endif
#ifndef A
#define A 0
#endif
#ifndef T
#define T ((N + A) / 2 + 1)
#endif
#ifndef SHORT
#define SHORT 0
#endif
#ifndef REACH
#define REACH (N / 2)
#endif
#ifndef ROUND
#define ROUND 1
#endif
#ifndef LOCAL
#define LOCAL 0
#endif
#ifndef FORGETS
#define FORGETS 0
#endif
#ifndef TWIN
#define TWIN 0
#endif
#ifndef CLAIMS
#define CLAIMS 1
#endif
#ifndef WHOLE
#define WHOLE 0
#endif

#ifndef U2S
#define U2S true
#endif
#ifndef U3S
#define U3S true
#endif

#define HONEST (N - A)
#define MACHINES (HONEST + TWIN)
#define ALL ((1 << N) - 1)
#define LIARS (ALL - ((1 << HONEST) - 1))
#define NOBODY 255

#define HAS(set, i) (((set) >> (i)) & 1)
#define COUNT(set) (HAS(set, 0) + HAS(set, 1) + HAS(set, 2) + HAS(set, 3) + HAS(set, 4) \
                    + HAS(set, 5) + HAS(set, 6) + HAS(set, 7))
#define CLIENT(m) ((m) < HONEST -> (m) : 0)
#define SAME(a, b) (u1[a] == u1[b] && number[a] == number[b])

/* of each machine: what it was shown, and what it did */
byte u1[MACHINES], number[MACHINES], u2[MACHINES], u3[MACHINES], earlier[MACHINES];
bool answered[MACHINES], restarted[MACHINES];
/* of each machine as a dealer: the holders whose share is out */
byte seeds[MACHINES], keys[MACHINES];

/* no part of a state: set before it is read, within one step */
hidden byte to, me, shown, session, i, j, k, there, signers, needed, held, most;
hidden byte known_seeds, known_keys, bad, rest, group, grown, summed, found;
hidden byte holders[N], other[MACHINES];
hidden byte good;

/* a set between {me} and whole, any of them */
inline choose(whole) {
    shown = 1 << me; i = 0;
    do
    :: i < N ->
        if
        :: i != me && HAS(whole, i) -> shown = shown | (1 << i)
        :: true
        fi;
        i++
    :: else -> break
    od;
    skip    /* as no jump may end in a d_step */
}

/* the machine of client c in the session of machine m */
inline among(c, m) {
    there = NOBODY;
    if
    :: SAME(c, m) -> there = c
    :: else ->
#if TWIN
        if
        :: c == 0 && SAME(HONEST, m) -> there = HONEST
        :: else
        fi
#else
        skip
#endif
    fi
}

/* V2; two runs of a client are two sessions */
inline check_u1() {
    good = COUNT(shown) >= T && (session == 0 || TWIN || (shown & LIARS));
#if TWIN
    j = (to == 0 -> HONEST : (to == HONEST -> 0 : NOBODY));
    if
    :: j != NOBODY && u1[j] == shown && number[j] == session -> good = false
    :: else
    fi
#endif
}

/* C5; V4: a neighbour in U2 has dealt in this session; V6: an input leaves masked once */
inline check_u2() {
    held = shown & holders[me];
    good = COUNT(held) >= T && (U2S);
    j = 0;
    do
    :: j < HONEST ->
        if
        :: HAS(held, j) ->
            among(j, to);
            if
            :: there == NOBODY -> good = false
            :: else
            fi
        :: else
        fi;
        j++
    :: else -> break
    od;
#if TWIN && CLAIMS
    if
    :: (to == 0 && u2[HONEST]) || (to == HONEST && u2[0]) -> good = false
    :: else
    fi
#endif
}

/* C8 */
inline check_u3() {
    good = COUNT(shown & holders[me]) >= T && (U3S)
}

/* V8: a quorum of U1, all in U3, signed this client's own (U2, U3) */
inline check_quorum() {
#if LOCAL
    held = u3[to] & holders[me];
    needed = (COUNT(holders[me] & u1[to]) + COUNT(holders[me] & u1[to] & LIARS)) / 2 + 1 - SHORT;
#else
    held = u3[to];
    needed = (COUNT(u1[to]) + A) / 2 + 1 - SHORT;
#endif
    signers = held & LIARS;
    j = 0;
    do
    :: j < HONEST ->
        if
        :: HAS(held, j) ->
            among(j, to);
            if
            :: there != NOBODY ->
                if
                :: u2[there] == u2[to] && (u3[there] == u3[to] || earlier[there] == u3[to]) ->
                    signers = signers | (1 << j)
                :: else
                fi
            :: else
            fi
        :: else
        fi;
        j++
    :: else -> break
    od;
    good = COUNT(signers) >= needed || !ROUND
}

/* C9: of each dealer one share, which one its own U3 says */
inline answer() {
    j = 0;
    do
    :: j < HONEST ->
        if
        :: HAS(u2[to] & holders[me], j) ->
            among(j, to);
            if
            :: HAS(u3[to], j) -> seeds[there] = seeds[there] | (1 << me)
            :: else -> keys[there] = keys[there] | (1 << me)
            fi
        :: else
        fi;
        j++
    :: else -> break
    od
}

inline broken(claim) {
    printf("broken %d\n", claim);   /* 1 both, 2 small, 3 twice, 4 several */
    assert(false)
}

/* What the server can compute now, and whether it may. */
inline check() {
    known_seeds = 0; known_keys = 0; most = 0;
    i = 0;
    do
    :: i < MACHINES ->
        k = COUNT(holders[CLIENT(i)] & u1[i] & LIARS);
        if
        :: u1[i] && COUNT(seeds[i]) + k >= T -> known_seeds = known_seeds | (1 << i)
        :: else
        fi;
        if
        :: u1[i] && COUNT(keys[i]) + k >= T -> known_keys = known_keys | (1 << i)
        :: else
        fi;
        k = COUNT(holders[CLIENT(i)] & LIARS);
        if
        :: k > most -> most = k
        :: else
        fi;
        i++
    :: else -> break
    od;
    if
    :: known_seeds & known_keys -> broken(1)
    :: else
    fi;

    /* other[i]: the machines with which i shares a mask that is unknown and in both vectors */
    bad = 0; rest = 0; i = 0;
    do
    :: i < MACHINES ->
        other[i] = 0;
        if
        :: u2[i] ->
            rest = rest | (1 << i);
            if
            :: !HAS(known_seeds, i) -> bad = bad | (1 << i)
            :: else
            fi;
            j = 0;
            do
            :: j < HONEST ->
                if
                :: j != CLIENT(i) && HAS(u2[i] & holders[CLIENT(i)], j) && !HAS(known_keys, i) ->
                    among(j, i);
                    if
                    :: there != NOBODY && !HAS(known_keys, there) ->
                        if
                        :: HAS(u2[there], CLIENT(i)) -> other[i] = other[i] | (1 << there)
                        :: else -> bad = bad | (1 << i)
                        fi
                    :: else
                    fi
                :: else
                fi;
                j++
            :: else -> break
            od
        :: else
        fi;
        i++
    :: else -> break
    od;

    /* its connected components */
    summed = 0;
    do
    :: rest ->
        group = 0; grown = rest & (255 - (rest - 1));
        do
        :: grown != group ->
            group = grown; i = 0;
            do
            :: i < MACHINES ->
                if
                :: HAS(group, i) -> grown = grown | other[i]
                :: else
                fi;
                i++
            :: else -> break
            od
        :: else -> break
        od;
        rest = rest & (255 - group);
        if
        :: !(group & bad) ->
            if
            :: COUNT(group) + most < T -> broken(2)
            :: else
            fi;
            found = 0;
            do
            :: !HAS(group, found) -> found++
            :: else -> break
            od;
            i = 0;
            do
            :: i < MACHINES ->
#if TWIN
                if
                :: HAS(group, i) && CLIENT(i) == 0 && (HAS(summed, 0) || HAS(summed, HONEST)) ->
                    broken(3)
                :: else
                fi;
#endif
                if
                :: REACH == N / 2 && HAS(summed, i) && SAME(i, found) -> broken(4)
                :: else
                fi;
                i++
            :: else -> break
            od;
            summed = summed | group
        :: else
        fi
    :: else -> break
    od
}

active proctype server() {
    /* who holds shares of whose secrets */
    d_step {
        i = 0;
        do
        :: i < N ->
            holders[i] = 1 << i; j = 1;
            do
            :: j <= REACH ->
                holders[i] = holders[i] | (1 << ((i + j) % N)) | (1 << ((i + N - j) % N));
                j++
            :: else -> break
            od;
            i++
        :: else -> break
        od
    };
    do
    :: atomic {
        to = 0;
        do
        :: to < MACHINES - 1 -> to++
        :: break
        od;
        me = CLIENT(to);
        if
        :: !u1[to] ->
#if WHOLE
            shown = ALL; session = 0;
#else
            choose(ALL);
            if
            :: session = 0
            :: session = 1
            fi;
#endif
            d_step {
                check_u1();
                if
                :: good ->
                    u1[to] = shown; number[to] = session;
                    printf("step %d u1 %d %d\n", to, shown, session)
                :: else
                fi
            }
        :: u1[to] && !u2[to] ->
            choose(u1[to]);
            d_step {
                check_u2();
                if
                :: good ->
                    u2[to] = shown;
                    printf("step %d u2 %d 0\n", to, shown);
                    check()
                :: else
                fi
            }
        :: u2[to] && !u3[to] ->
            choose(u2[to]);
            d_step {
                check_u3();
                if
                :: good ->
                    u3[to] = shown;
                    printf("step %d u3 %d 0\n", to, shown)
                :: else
                fi
            }
        :: u3[to] && !answered[to] ->
            d_step {
                check_quorum();
                if
                :: good ->
                    answered[to] = true;
                    printf("step %d quorum %d 0\n", to, signers);
                    answer();
                    check()
                :: else
                fi
            }
#if FORGETS
        :: u3[to] && !restarted[to] && HAS(FORGETS, me) ->
            d_step {
                restarted[to] = true; earlier[to] = u3[to];
                u3[to] = 0; answered[to] = false;
                printf("step %d restart 0 0\n", to)
            }
#endif
        :: u3[to] && answered[to]
        fi
    }
    od
}
