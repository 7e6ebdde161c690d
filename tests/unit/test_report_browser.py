"""The report page in a browser: it plays, sorts, orders, obeys the keyboard and fits a phone."""

import pytest
from browser import launched, opened
from pages import report, write_trust

from etude.config import Page

pytestmark = pytest.mark.slow
NAMES = ("audiolm", "notes")
CLIPS, SHOWN = 14, 10


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A page of two experiments, one of them symbolic."""
    results = tmp_path_factory.mktemp("run") / "results"
    write_trust(results, CLIPS, (0, 1), (0,), 1.0, NAMES)
    report(results, list(NAMES), results / "report", Page(clips=SHOWN))
    return results / "report/index.html"


@pytest.fixture(scope="module")
def chrome():
    with launched() as browser:
        yield browser


def names(page, where):
    return page.locator(where).all_inner_texts()


def test_clips_play_one_at_a_time_by_mouse_and_keyboard(chrome, built):
    with opened(chrome, built) as page:
        screens, sounds = page.locator("button.screen"), page.locator("audio")
        screens.nth(0).click()
        page.wait_for_function("document.querySelectorAll('audio')[0].currentTime > 0")
        assert screens.nth(0).get_attribute("aria-pressed") == "true"
        screens.nth(0).press("ArrowDown")
        assert screens.nth(1).evaluate("e => e === document.activeElement")
        page.keyboard.press("Space")
        page.wait_for_function("document.querySelectorAll('audio')[1].currentTime > 0")
        assert sounds.nth(0).evaluate("s => s.paused")
        # At its end it is set back to its beginning, a moment after it has stopped.
        over = "(s => s.paused && s.currentTime === 0)(document.querySelectorAll('audio')[1])"
        page.wait_for_function(over)
        page.keyboard.press("ArrowRight")
        page.wait_for_function("document.querySelectorAll('audio')[1].currentTime >= 0.2")
        page.keyboard.press("End")
        page.keyboard.press("ArrowDown")  # there is nothing below the last
        last = "e => e === [...e.closest('.clips').querySelectorAll('.screen')].at(-1)"
        assert page.locator(":focus").evaluate(last)
        page.keyboard.press("Home")
        assert screens.nth(0).evaluate("e => e === document.activeElement")


def test_every_sound_and_picture_can_be_decoded(chrome, built):
    with opened(chrome, built) as page:
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        page.evaluate(
            "document.querySelectorAll('audio').forEach(s => { s.preload = 'auto'; s.load(); })"
        )
        ready = "[...document.querySelectorAll('audio')].every(s => s.error || s.readyState == 4)"
        page.wait_for_function(ready)
        assert page.evaluate("[...document.querySelectorAll('audio')].every(s => s.duration > 0.9)")
        page.evaluate("document.querySelectorAll('img').forEach(i => i.loading = 'eager')")
        page.wait_for_function("[...document.images].every(i => i.complete)")
        assert page.evaluate("[...document.images].every(i => i.naturalWidth == 360)")
        assert page.locator("img[alt^='Piano roll']").count() >= SHOWN


def test_tables_sort_and_keep_what_is_missing_at_the_end(chrome, built):
    with opened(chrome, built) as page:
        table = page.locator("#leaderboard table").first
        # As many rows as this stand in one table with floors and ceilings.
        column = table.locator("tbody td.value")
        heading = table.locator("thead button", has_text="Fréchet distance")
        heading.click()
        up = [float(text) for text in column.all_inner_texts()]
        assert up == sorted(up)
        assert table.locator("[aria-sort=ascending]").count() == 1
        heading.press("Enter")
        assert [float(text) for text in column.all_inner_texts()] == up[::-1]
        assert table.locator("tr.own .plot svg circle").count() == len(NAMES)


def test_clips_come_in_another_order_and_more_of_them(chrome, built):
    with opened(chrome, built) as page:
        clips = page.locator(".set").first
        link = ".clips .clip:not(.near) a"
        first = names(clips, link)
        assert len(first) == SHOWN
        assert first == [f"clip-{i:04d}" for i in range(SHOWN)], "as generated: nobody chose them"
        clips.locator("select").select_option("fad")
        assert names(clips, link)[0] == f"clip-{CLIPS // 3:04d}"  # the outlier
        clips.locator("select").select_option("copies")
        assert names(clips, link)[:2] == ["clip-0005", "clip-0007"]
        clips.locator("select").select_option("index")
        clips.locator(".more button").click()
        assert names(clips, link) == [f"clip-{i:04d}" for i in range(CLIPS)]
        assert clips.locator(".more").is_hidden()
        assert clips.locator(".near button.screen").count() == CLIPS


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_a_phone(chrome, built, scheme):
    phone = {"viewport": {"width": 390, "height": 844}, "color_scheme": scheme}
    with opened(chrome, built, **phone, device_scale_factor=2, has_touch=True) as page:
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        assert page.evaluate("document.scrollingElement.scrollWidth") == 390
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(20, 22, 27)") == (scheme == "dark")


def test_keyboard_finds_its_way(chrome, built):
    with opened(chrome, built) as page:
        page.keyboard.press("Tab")
        skip = page.locator(":focus")
        assert skip.inner_text() == "Skip to the results"
        assert skip.is_visible()
        page.keyboard.press("Enter")
        assert page.url.endswith("#summary")
        for _ in range(12):
            page.keyboard.press("Tab")
            outline = page.evaluate(
                "(() => { const s = getComputedStyle(document.activeElement); "
                "return s.outlineStyle != 'none' && parseFloat(s.outlineWidth) >= 1; })()"
            )
            assert outline, page.evaluate("document.activeElement.outerHTML.slice(0, 200)")


def test_page_reads_and_plays_without_its_script(chrome, built):
    with opened(chrome, built, java_script_enabled=False) as page:
        assert page.locator("button").locator("visible=true").count() == 0
        assert page.locator(".clips audio[controls]").first.is_visible()
        assert page.locator("#listen .with-script").first.is_hidden()
        rows = page.locator(".set").first.locator("tbody th a")
        assert rows.count() == CLIPS


VISIBLE = "e => e.checkVisibility({ contentVisibilityAuto: true })"


def test_on_paper_the_verdict_is_unfolded_and_what_only_a_screen_can_do_is_gone(chrome, built):
    """In a dark browser too: paper is white."""
    with opened(chrome, built, color_scheme="dark") as page:
        page.emulate_media(media="print")
        seen = lambda where: page.locator(where).first.evaluate(VISIBLE)  # noqa: E731
        for kept in (
            "#summary img",
            "#verdict .card",
            "details.print td",
            ".board h3",
            ".on-paper",
        ):
            assert seen(kept), kept
        for gone in ("nav", "audio", "#listen", ".order", "#copies details:not([open])"):
            assert not page.locator(gone).count() or not seen(gone), gone
        assert page.locator("body").evaluate("e => getComputedStyle(e).color") == "rgb(0, 0, 0)"
        # What a reader has unfolded is printed.
        page.locator("#copies details").first.evaluate("e => e.open = true")
        assert seen("#copies details td")
        page.emulate_media(media="screen")
        assert not seen(".on-paper")
        assert not seen("details.print td"), "on the screen it is folded"
        assert page.locator("#summary img[loading=lazy]").count() == 0, "would be blank on paper"
