"""Mailboxes: in order on both sides, and nothing gets lost."""

from hypothesis import given
from hypothesis import strategies as st

from simbench.clock import Clock
from simbench.mailbox import Mail, Mailbox

TAGS = st.sampled_from(["a", "b"])
SENDERS = st.integers(0, 2)


def mail(number, tag="a", sender=0):
    return Mail(sender, tag, number)


def bodies(mails):
    return [each.body for each in mails]


def test_mail_waits_for_a_reader_in_order_of_arrival():
    box = Mailbox(Clock())
    for number in range(3):
        box.put(mail(number))

    assert bodies(box.receive(None, None).value for _ in range(3)) == [0, 1, 2]
    assert box.unread == []


def test_readers_wait_for_mail_in_order_of_asking():
    box = Mailbox(Clock())
    readers = [box.receive(None, None) for _ in range(3)]

    for number in range(2):
        box.put(mail(number))

    assert [reader.triggered for reader in readers] == [True, True, False]
    assert bodies(reader.value for reader in readers[:2]) == [0, 1]


def test_a_reader_takes_only_the_tag_and_the_sender_that_it_wants():
    box = Mailbox(Clock())
    box.put(mail(0, "b", sender=1))
    box.put(mail(1, "a", sender=2))
    box.put(mail(2, "a", sender=1))

    assert box.receive("a", 1).value.body == 2
    assert box.receive("a", None).value.body == 1
    assert not box.receive("a", None).triggered
    assert box.receive(None, 1).value.body == 0


def test_an_empty_tag_is_a_tag_of_its_own():
    box = Mailbox(Clock())
    box.put(mail(0, "a"))

    assert not box.receive("", None).triggered


def test_an_undone_reader_waits_no_longer():
    box = Mailbox(Clock())
    reader = box.receive(None, None)

    box.undo(reader)
    box.put(mail(0))

    assert not reader.triggered
    assert bodies(box.unread) == [0]


def test_mail_that_was_handed_out_goes_back_to_the_front():
    box = Mailbox(Clock())
    box.put(mail(0))
    reader = box.receive(None, None)
    box.put(mail(1))

    box.undo(reader)

    assert bodies(box.unread) == [0, 1]


def test_mail_that_goes_back_finds_the_next_reader_who_waits():
    box = Mailbox(Clock())
    undone, other, waiting = (
        box.receive("a", None),
        box.receive("b", None),
        box.receive("a", None),
    )
    box.put(mail(0))

    box.undo(undone)

    assert waiting.triggered
    assert waiting.value.body == 0
    assert not other.triggered
    assert box.unread == []


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), TAGS, SENDERS),
            st.tuples(
                st.just("receive"), st.one_of(st.none(), TAGS), st.one_of(st.none(), SENDERS)
            ),
        ),
        max_size=40,
    )
)
def test_every_mail_is_read_once_or_unread_and_no_reader_waits_for_what_is_there(steps):
    box, readers, num_put = Mailbox(Clock()), [], 0
    for what, tag, sender in steps:
        if what == "put":
            box.put(mail(num_put, tag, sender))
            num_put += 1
        else:
            readers.append(box.receive(tag, sender))

    read = bodies(reader.value for reader in readers if reader.triggered)

    assert sorted(read + bodies(box.unread)) == list(range(num_put))
    assert box.readers == [reader for reader in readers if not reader.triggered]
    assert not any(reader.matches(each) for reader in box.readers for each in box.unread)
    assert all(reader.matches(reader.value) for reader in readers if reader.triggered)


def test_a_reader_says_what_it_waits_for():
    box = Mailbox(Clock())

    assert str(box.receive(None, None)) == "any message"
    assert str(box.receive("push", None)) == "a message 'push'"
    assert str(box.receive("push", 3)) == "a message 'push' from node 3"
