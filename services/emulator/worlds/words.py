"""The vocabulary of the seeded worlds: enough languages, scripts and odd characters to surprise a careless reader."""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


LANGUAGES: dict[str, tuple[str, ...]] = {
    "it": _words("""
        il treno parte alle nove domani piove ancora sulla città perché nessuno ha più voglia di caffè grazie ragazzi
        che bella giornata oggi finalmente si vince andiamo al mare dopo la scuola però è già tardi «virtù» c'è l'amore
    """),
    "en": _words(r"""
        the train leaves at nine and it will rain again tomorrow nobody wants more coffee thanks everyone what a lovely
        day we finally won let us go to the sea after school but it's already late "quoted" don't back\slash naïve
    """),
    "es": _words("""
        el tren sale a las nueve mañana llueve otra vez sobre la ciudad nadie quiere más café gracias a todos qué día
        tan bonito por fin ganamos vamos al mar después de la escuela ¡pero ya es tarde! ¿verdad?
    """),
    "de": _words("""
        der Zug fährt um neun morgen regnet es wieder über der Stadt niemand will mehr Kaffee danke euch allen was für
        ein schöner Tag endlich gewonnen gehen wir ans Meer nach der Schule aber es ist schon spät größer
    """),
    "ja": _words("""
        電車は 九時に 出ます 明日も 雨が 降る 誰も コーヒーを 飲まない ありがとう
        今日は いい日 だった 海へ 行こう 学校の あとで でも もう 遅い 🌊 🚄 👩‍👩‍👧
    """),
    "ar": _words("""
        القطار يغادر في التاسعة غدا تمطر مرة أخرى على المدينة
        لا أحد يريد القهوة شكرا يوم جميل إلى البحر
    """),
}

LANGUAGE_SHARES = (("it", 34), ("en", 70), ("es", 82), ("de", 90), ("ja", 96), ("ar", 100))
"""Each language with its upper bound for an account's draw from 0 to 99: 34 % Italian, 36 % English, …"""

FIRST_NAMES = _words("""
    Ada Bruno Chiara Dario Élise Franz Giulia Hana Ilse João Karim Luca Marta Nadia Olmo Piera Quinn Rosa Søren Tea Ugo
    Vera Wanda Ximena Yuki Zoë
""")
LAST_NAMES = _words("""
    Rossi Bianchi Greco Müller Novak O'Hara Pérez Sato Verdi Weiss Costa Dubois Esposito Fabbri Ibrahim Jansen Kovács
    Leone Moretti Nakamura
""")
PLACES = ("Milano", "Torino", "Pisa, Toscana", "London", "Buenos Aires", "Köln", "東京", "القاهرة", 'Trieste "est"')
TAGS = _words("treno mare caffè domani citta scuola vittoria pioggia rail open_data calcio amore 電車 buongiorno")
SOURCES = (
    ("http://twitter.com/download/iphone", "Twitter for iPhone"),
    ("http://twitter.com/download/android", "Twitter for Android"),
    ("http://twitter.com", "Twitter Web Client"),
    ("https://about.twitter.com/products/tweetdeck", "TweetDeck"),
)
